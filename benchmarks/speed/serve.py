"""Seconds from an upload to the page of its answer in `heartfed serve`.

    python -m benchmarks.speed.serve --weights FILE [--weights FILE] [--turns 20]

Data: one synthetic recording of twelve leads, ten seconds at 500 Hz, as CSV with a column of times.
The server is that of the command in a process of its own, with the given models; the client sends
an upload over loopback, follows to the page and reads it. Measured are uploads one after the other
(after a first, which loads what is loaded once) and twenty at once. Seconds depend on what else
the machine does; the processor seconds of the server for an upload hardly do.
"""

import argparse
import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import psutil

from benchmarks.common.results_store import command, machine_description, put_between_marks
from fl.datasets.synthetic import SYNTHETIC
from fl.predict.saved_model import load_model

SECONDS, FS, AT_ONCE = 10, 500, 20


def made_table() -> bytes:
    """The recording as CSV."""
    source = replace(SYNTHETIC, n_records=1)
    (name,) = source.record_names(Path())
    record = source.read(Path(), name)
    times = int(np.ceil(SECONDS * FS / record.signal.shape[1]))
    signal = np.tile(record.signal, times)[:, : SECONDS * FS]
    lines = ["time [s]," + ",".join(record.leads)]
    lines += [
        ",".join([f"{number / FS:.3f}", *(f"{value:.4f}" for value in values)])
        for number, values in enumerate(signal.T)
    ]
    return "\n".join(lines).encode()


async def seconds_of(client: httpx.AsyncClient, content: bytes) -> float:
    """From the upload until the page of the answer is read."""
    begin = time.perf_counter()
    files = [("files", ("synthetic.csv", content))]
    page = await client.post("/answer", files=files, follow_redirects=True)
    page.raise_for_status()
    if page.text.count('class="trace"') != 12:
        raise RuntimeError("the page does not show the twelve leads")
    return time.perf_counter() - begin


async def measure(
    address: str, turns: int, server: psutil.Process
) -> tuple[list[float], float, float]:
    """Seconds of each of so many uploads, processor seconds of one, and seconds of AT_ONCE."""
    content = made_table()
    async with httpx.AsyncClient(base_url=address, timeout=300) as client:
        await seconds_of(client, content)
        before = sum(server.cpu_times()[:2])
        alone = [await seconds_of(client, content) for _ in range(turns)]
        busy = (sum(server.cpu_times()[:2]) - before) / turns
        begin = time.perf_counter()
        await asyncio.gather(*(seconds_of(client, content) for _ in range(AT_ONCE)))
        return alone, busy, time.perf_counter() - begin


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the lines."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    parser.add_argument("--weights", type=Path, action="append", required=True)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--results", type=Path, default=Path("docs/performance.md"))
    options = parser.parse_args(arguments)
    rows, load = [], psutil.getloadavg()[0]
    for weights in [[path] for path in options.weights] + (
        [options.weights] if len(options.weights) > 1 else []
    ):
        with subprocess.Popen(
            [sys.executable, "-m", "heartfed", "serve", "--port", "0", "--weights", *weights],
            stdout=subprocess.PIPE,
            text=True,
        ) as server:
            try:
                assert server.stdout is not None
                found = re.search(r"http://\S+", server.stdout.readline())
                assert found is not None
                process = psutil.Process(server.pid)
                alone, busy, together = asyncio.run(measure(found[0], options.turns, process))
            finally:
                server.terminate()
        models = [load_model(path) for path in weights]
        names = " and ".join(f"{model.name} ({model.task.name})" for model in models)
        low, middle, high = np.percentile(alone, [0, 50, 100])
        rows.append(
            f"| {names} | {busy:.2f} | {middle:.2f} | {low:.2f} to {high:.2f} | {together:.1f} |"
        )
    lines = [
        f"| models | processor seconds | seconds (median) | range | {AT_ONCE} at once |",
        "| --- | --- | --- | --- | --- |",
        *rows,
        "",
        f"Made by `{command('speed.serve', data=False)}` on {machine_description('cpu')}, load "
        f"{load:.1f} before; a synthetic recording.",
    ]
    print("\n".join(lines))
    put_between_marks(options.results, "serve", "\n".join(lines))


if __name__ == "__main__":
    main()
