"""Take screenshots of the monitor's page: `python docs/make_monitor_screenshots.py --weights W`.

Writes monitor-synthetic-1280.png and monitor-synthetic-390.png into docs/, while the synthetic
signal of `fl.monitor.demonstration` raises its alarm for ventricular tachycardia.
"""

import argparse
import io
import shutil
import sys
import threading
from pathlib import Path

import uvicorn
from make_screenshots import BROWSERS, write
from PIL import Image
from playwright.sync_api import sync_playwright

from heartfed.web.application import application
from heartfed.web.serve import listening, load_models
from heartfed.web.settings import Settings

HERE = Path(__file__).parent
SIZES = ((1280, 1150), (390, 1450))
ALARM = "ventricular tachycardia since"
LATER = 2500  # ms after the alarm, when the beats around it are drawn


def main() -> int:
    """Exit code: 0 done, 2 if there is no browser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="a model of beat-causal")
    options = parser.parse_args()
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"no browser found; looked for {', '.join(BROWSERS)}", file=sys.stderr)
        return 2
    settings = Settings(models=load_models(None, [options.weights], "pooled"))
    bound = listening("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(application(settings), log_level="critical"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for width, height in SIZES:
            page = opened.new_page(viewport={"width": width, "height": height})
            page.goto(f"http://127.0.0.1:{bound.getsockname()[1]}/monitor")
            page.select_option("#speed", "2.0")
            page.click("#start")
            page.locator("#alarms li").filter(has_text=ALARM).wait_for(timeout=120_000)
            page.wait_for_timeout(LATER)
            shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            write(shot, HERE / f"monitor-synthetic-{width}.png")
            page.close()
        opened.close()
    settings.closing.set()
    server.should_exit = True
    thread.join(timeout=30)
    return 0


if __name__ == "__main__":
    sys.exit(main())
