"""How long a round of a deployment takes beyond training: three sites on loopback.

`python -m benchmarks.speed.deployment` starts a SuperLink, a proxy and three sites as
separate processes with
TLS and keys, on synthetic recordings, trains, and prints for each round its seconds, those of
its longest visit, and the rest; then what a visit waits for at its site. The last round has two
visits: nothing is trained after it that could be measured with it. `--json` prints the same for
other programmes.
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
VISIT = re.compile(r"request: (\w+), ([0-9.]+) s")
# A line of a site's log that tells of a message: when, and what.
STEP = re.compile(r"^(\S+ \S+) .*?(Receiving|request|Sending|Sent successfully)\b.*$", re.MULTILINE)
STEPS = ("Receiving", "request", "Sending", "Sent successfully")  # of one message, in order
Row = dict[str, float]
LIMIT = 6.0  # seconds of a round beyond training


def main() -> int:
    """Exit code 1 if the median round spends more than the limit beyond training."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--rounds", type=int, default=6)
    made.add_argument("--model", default="resnet1d")
    made.add_argument("--records", type=int, default=20, help="of each site")
    made.add_argument("--json", action="store_true")
    options = made.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    with tempfile.TemporaryDirectory() as folder:
        rows, waits = measure(Path(folder), options)
    later = [row["beyond"] for row in rows[1:]] or [rows[0]["beyond"]]
    found = {
        "rounds": rows,
        "median_beyond": round(statistics.median(later), 2),
        "at_the_site": waits,
        "limit": LIMIT,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        show(found)
    return int(found["median_beyond"] > LIMIT)


def measure(base: Path, options: argparse.Namespace) -> tuple[list[Row], Row]:
    """Each round's seconds and those of its longest visits; what a visit waits for at its site."""
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
        visits = [VISIT.findall(log.read_text()) for log in logs]
        waits = waits_of([log.read_text() for log in logs])
        with (base / "runs" / "run" / "rounds.csv").open(newline="") as file:
            seconds = [float(row["seconds"]) for row in csv.DictReader(file)]
    return [row(i, taken, visits, i == len(seconds) - 1) for i, taken in enumerate(seconds)], waits


def waits_of(logs: list[str]) -> Row:
    """Mean seconds of a visit, over all sites, beside the visit itself."""
    found: dict[str, list[float]] = {"message arrives": [], "reply is found": [], "reply goes": []}
    for log in logs:
        steps = [(datetime.strptime(m[1], "%Y-%m-%d %H:%M:%S,%f"), m) for m in STEP.finditer(log)]
        times = [at.timestamp() for at, _ in steps]
        for i in range(len(steps) - 3):
            if [step[2] for _, step in steps[i : i + 4]] == list(STEPS):
                visit = float(VISIT.search(steps[i + 1][1][0])[2])
                found["message arrives"].append(times[i + 1] - times[i] - visit)
                found["reply is found"].append(times[i + 2] - times[i + 1])
                found["reply goes"].append(times[i + 3] - times[i + 2])
    return {what: round(statistics.mean(taken), 3) for what, taken in found.items()}


def row(number: int, taken: float, visits: list[list[tuple[str, str]]], last: bool) -> Row:
    """One round: what it took, and how much of that its longest visits were."""
    made = [("train", number), *([("evaluate", 0)] if last else [])]
    longest = sum(
        max(float([s for k, s in site if k == kind][which]) for site in visits)
        for kind, which in made
    )
    longest = round(longest, 3)
    return {
        "round": number + 1,
        "seconds": taken,
        "visits": longest,
        "beyond": round(taken - longest, 3),
    }


def show(found: dict[str, Any]) -> None:
    """The same as a table."""
    print("round  seconds  longest visits  beyond")
    for r in found["rounds"]:
        print(f"{r['round']:5} {r['seconds']:8.2f} {r['visits']:15.2f} {r['beyond']:7.2f}")
    waits = ", ".join(f"{what} {taken:.2f} s" for what, taken in found["at_the_site"].items())
    print(f"a visit, beside the visit itself: {waits} (means)")
    print(
        f"median of the rounds after the first: {found['median_beyond']} s beyond training "
        f"(at most {LIMIT:g}); {found['cores']} cores, load {found['load']:.1f}"
    )


if __name__ == "__main__":
    sys.exit(main())
