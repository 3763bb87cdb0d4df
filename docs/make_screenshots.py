"""Take screenshots of a run's pages: `python docs/make_screenshots.py RUN [--site site-1]`.

Writes report-index.png and report-site.png into docs/: the top of both pages, 1280 pixels wide, in
a headless Chromium. Make the run first, e.g. `python run_sim.py --clients 8 --compare`.
"""

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--hide-scrollbars",
)
WIDTH, HEIGHT = 1280, 2400
COLOURS = 256  # of the PNG's palette; with fewer, two classes would get one colour


def screenshot(browser: str, page: Path) -> Image.Image:
    """The top of a page, in a new browser profile that is deleted afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        subprocess.run(
            [
                browser,
                *FLAGS,
                f"--user-data-dir={folder}/profile",
                f"--window-size={WIDTH},{HEIGHT}",
                f"--screenshot={shot}",
                page.resolve().as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
        return Image.open(io.BytesIO(shot.read_bytes())).convert("RGB")


def write(image: Image.Image, path: Path) -> None:
    """Write a PNG with a small palette; an interrupted write leaves the old file."""
    unfinished = path.with_name(f".{path.name}.part")
    small = image.quantize(COLOURS, dither=Image.Dither.NONE)
    small.save(unfinished, format="png", optimize=True)
    unfinished.replace(path)


def main() -> int:
    """Exit code: 0 done, 2 if the browser or a page is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--site", default="site-1")
    options = parser.parse_args()
    browser = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if browser is None:
        print("error: no Chromium found. Install it: apt-get install chromium", file=sys.stderr)
        return 2
    report = options.run / "report"
    for name, page in (
        ("report-index.png", report / "index.html"),
        ("report-site.png", report / "sites" / f"{options.site}.html"),
    ):
        if not page.is_file():
            print(f"error: {page} is missing. Write it: python -m fl.reports RUN", file=sys.stderr)
            return 2
        write(screenshot(browser, page), HERE / name)
        print(HERE / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
