"""Take screenshots of `heartfed serve`: `python docs/make_web_screenshots.py WEIGHTS...`.

Uploads a SYNTHETIC recording to a server with the given models, and writes the page of the answer
with an explanation into docs/: serve-answer.png, 1280 pixels wide, and serve-answer-390.png.
"""

import argparse
import io
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from fl.datasets.synthetic import SYNTHETIC_HOLTER
from fl.ecg.records import Record

HERE = Path(__file__).parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NAME = "SYNTHETIC-recording.csv"  # the title of the page
SECONDS = 20
COLOURS = 200  # of the PNG's palette
HEIGHTS = {1280: 1500, 390: 1900}  # pixels that are kept, by the width


def made_recording() -> Record:
    """A synthetic two-lead recording with V beats."""
    source = replace(SYNTHETIC_HOLTER, n_records=40)
    records = (source.read(Path(), name) for name in source.record_names(Path()))
    return max(records, key=lambda r: r.annotations.symbols.count("V") if r.annotations else 0)


def as_table(record: Record) -> bytes:
    """Its first seconds as CSV."""
    signal = record.signal[:, : round(SECONDS * record.fs)]
    times = np.arange(signal.shape[1]) / record.fs
    lines = [",".join(["time [s]", *record.leads])]
    lines += [
        ",".join([f"{t:.4f}", *(f"{v:.4f}" for v in values)])
        for t, values in zip(times, signal.T, strict=True)
    ]
    return "\n".join(lines).encode()


def take(page: Page, address: str, content: bytes, width: int, path: Path) -> None:
    """Upload, explain the first V beat or else the first class, and write the picture."""
    page.set_viewport_size({"width": width, "height": 900})
    page.set_default_timeout(120_000)
    page.goto(address)
    page.set_input_files("#files", {"name": NAME, "mimeType": "text/csv", "buffer": content})
    page.click("form button[type=submit]")
    page.wait_for_selector("svg.sheet")
    v = page.locator("table.beats tr", has_text=re.compile(r"V, samples")).get_by_text("show")
    (v if v.count() else page.get_by_text("show")).first.click()
    page.wait_for_selector("#bands")
    chosen = page.locator(".beat.class-2")
    (chosen if chosen.count() else page.locator(".beat")).first.focus()
    page.evaluate("window.scrollTo(0, 0)")
    image = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
    image = image.crop((0, 0, width, min(image.height, HEIGHTS[width])))
    small = image.quantize(COLOURS, dither=Image.Dither.NONE)
    unfinished = path.with_name(f".{path.name}.part")
    small.save(unfinished, format="png", optimize=True)
    unfinished.replace(path)


def main() -> int:
    """Exit code: 0 done, 2 if there is no browser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path, nargs="+")
    options = parser.parse_args()
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"error: none of {', '.join(BROWSERS)} is installed", file=sys.stderr)
        return 2
    content = as_table(made_recording())
    command = [sys.executable, "-m", "heartfed", "serve", "--port", "0", "--weights"]
    with (
        subprocess.Popen([*command, *options.weights], stdout=subprocess.PIPE, text=True) as server,
        sync_playwright() as started,
    ):
        try:
            assert server.stdout is not None
            found = re.search(r"http://\S+", server.stdout.readline())
            assert found is not None
            opened = started.chromium.launch(executable_path=browser, args=["--no-sandbox"])
            for width, name in ((1280, "serve-answer.png"), (390, "serve-answer-390.png")):
                take(opened.new_page(), found[0], content, width, HERE / name)
                print(f"written: {HERE / name}")
            opened.close()
        finally:
            server.terminate()
    return 0


if __name__ == "__main__":
    sys.exit(main())
