"""How much longer a round of a deployment takes than its training: three sites on loopback.

`python -m benchmarks.speed.deployment` starts a SuperLink, a reverse proxy and three sites as
separate processes with TLS and keys, trains on synthetic recordings, and prints for each round
its seconds, the seconds of its longest request, and the rest; then how long a request waits at
its site. The last round has two requests to each site, because its weights are not validated in
a later training request. `--json` prints the same as JSON.
"""

import argparse
import csv
import json
import os
import re
import signal
import statistics
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
REQUEST = re.compile(r"request: (\w+), ([0-9.]+) s")  # as a site's log writes it
# The lines of a site's log about one message: time and step.
STEP = re.compile(r"^(\S+ \S+) .*?(Receiving|request|Sending|Sent successfully)\b.*$", re.MULTILINE)
STEPS = ("Receiving", "request", "Sending", "Sent successfully")  # of one message, in order
LIMIT = 6.0  # seconds of a round beyond its training


def main() -> int:
    """Exit code 1 if the median round takes more than the limit beyond its training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--model", default="resnet1d")
    parser.add_argument("--records", type=int, default=20, help="of each site")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    # An exit by exception ends the processes of the federation too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory() as folder:
        rows, waits = measure(Path(folder), options)
    later = [row["beyond"] for row in rows[1:]] or [rows[0]["beyond"]]
    result = {
        "rounds": rows,
        "median_beyond": round(statistics.median(later), 2),
        "at_the_site": waits,
        "limit": LIMIT,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        show(result)
    return int(result["median_beyond"] > LIMIT)


def measure(
    base: Path, options: argparse.Namespace
) -> tuple[list[dict[str, float]], dict[str, float]]:
    """The rows of the table of rounds, and the seconds that a request waits at its site."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from support.federations import SITES, Federation, write_folder

    for number, site in enumerate(SITES):
        first = 1 + number * options.records
        names = [f"S{n:05d}" for n in range(first, first + options.records)]
        write_folder(base / "data" / site, names)
    with Federation(base) as federation:
        federation.flags = {site: ("--sources", f"own={base / 'data' / site}") for site in SITES}
        federation.serve()
        federation.admit_all()
        flags = ("--rounds", options.rounds, "--model", options.model, "--name", "run", "--quiet")
        federation.do(
            *("server.deploy", "run", federation.folder, *flags),
            *("--local-epochs", 1, "--batch-size", 4),
            timeout=3600,
        )
        logs = [federation.home(site) / "logs" / "site.log" for site in SITES]
        requests = [REQUEST.findall(log.read_text()) for log in logs]
        waits = waits_of([log.read_text() for log in logs])
        with (base / "runs" / "run" / "rounds.csv").open(newline="") as file:
            seconds = [float(row["seconds"]) for row in csv.DictReader(file)]
    rows = [row(i, taken, requests, i == len(seconds) - 1) for i, taken in enumerate(seconds)]
    return rows, waits


def waits_of(logs: list[str]) -> dict[str, float]:
    """Mean seconds of the steps of a request besides its work, over all sites."""
    waits: dict[str, list[float]] = {
        "message arrives": [],
        "reply is found": [],
        "reply is sent": [],
    }
    for log in logs:
        steps = [(datetime.strptime(m[1], "%Y-%m-%d %H:%M:%S,%f"), m) for m in STEP.finditer(log)]
        times = [time.timestamp() for time, _ in steps]
        for i in range(len(steps) - 3):
            if [step[2] for _, step in steps[i : i + 4]] == list(STEPS):
                work = float(REQUEST.search(steps[i + 1][1][0])[2])
                waits["message arrives"].append(times[i + 1] - times[i] - work)
                waits["reply is found"].append(times[i + 2] - times[i + 1])
                waits["reply is sent"].append(times[i + 3] - times[i + 2])
    return {step: round(statistics.mean(seconds), 3) for step, seconds in waits.items()}


def row(
    number: int, seconds: float, requests: list[list[tuple[str, str]]], last: bool
) -> dict[str, float]:
    """One round: its seconds, and how many of them its longest requests took."""
    kinds = [("train", number), *([("evaluate", 0)] if last else [])]
    longest = sum(
        max(float([s for k, s in site if k == kind][which]) for site in requests)
        for kind, which in kinds
    )
    longest = round(longest, 3)
    return {
        "round": number + 1,
        "seconds": seconds,
        "requests": longest,
        "beyond": round(seconds - longest, 3),
    }


def show(result: dict[str, Any]) -> None:
    """Print the result as a table."""
    print("round  seconds  longest requests  beyond")
    for r in result["rounds"]:
        print(f"{r['round']:5} {r['seconds']:8.2f} {r['requests']:17.2f} {r['beyond']:7.2f}")
    waits = ", ".join(f"{step} {s:.2f} s" for step, s in result["at_the_site"].items())
    print(f"a request, besides its work: {waits} (means)")
    print(
        f"median of the rounds after the first: {result['median_beyond']} s beyond training "
        f"(at most {LIMIT:g}); {result['cores']} cores, load {result['load']:.1f}"
    )


if __name__ == "__main__":
    sys.exit(main())
