"""A headless Chromium on a DevTools connection: what a page does when it is opened."""

import base64
import json
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from websockets.sync.client import ClientConnection, connect

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--remote-debugging-port=0", "--remote-allow-origins=*"),
)
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def executable() -> str | None:
    return next((path for path in map(shutil.which, NAMES) if path), None)


@contextmanager
def opened(command: str, profile: Path):
    """A browser with one tab and a profile of its own; it ends with the block."""
    process = subprocess.Popen(
        [command, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with connect(address(process, profile), max_size=None) as socket:
            yield Browser(socket)
    finally:
        process.terminate()
        process.wait(timeout=30)


def address(process: subprocess.Popen, profile: Path) -> str:
    """Where the browser listens, once it does."""
    file, until = profile / "DevToolsActivePort", time.monotonic() + 60
    while not file.is_file() or len(file.read_text().split()) < 2:
        if time.monotonic() > until or process.poll() is not None:
            raise RuntimeError("Chromium did not start")
        time.sleep(0.05)
    port, path = file.read_text().split()
    return f"ws://127.0.0.1:{port}{path}"


class Browser:
    """The tab, spoken to by DevTools messages."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket, self.number, self.session, self.events = socket, 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params) -> dict:
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.socket.send(json.dumps(message))
        while True:
            told = json.loads(self.socket.recv(timeout=60))
            if told.get("id") == self.number:
                assert "error" not in told, told
                return told["result"]
            self.events.append(told)

    def open(self, page: Path, width: int) -> dict:
        """Open a page at a width: what it asked for, what it complained of, how wide it is."""
        self.events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.call("Page.navigate", url=page.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(json.loads(self.socket.recv(timeout=60)))
        wide = self.call("Runtime.evaluate", expression="document.documentElement.scrollWidth")
        asked = self._of("Network.requestWillBeSent")
        return {
            "width": wide["result"]["value"],
            "requests": [event["request"]["url"] for event in asked],
            "complaints": [
                *self._of("Runtime.exceptionThrown"),
                *self._of("Runtime.consoleAPICalled"),
                *self._of("Log.entryAdded"),
            ],
        }

    def shot(self, path: Path, height: int) -> None:
        """The top of the open page as a PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(height, size["height"])}
        found = self.call(
            "Page.captureScreenshot", clip=clip | {"scale": 1}, captureBeyondViewport=True
        )
        path.write_bytes(base64.b64decode(found["data"]))

    def _of(self, method: str) -> list[dict]:
        return [event["params"] for event in self.events if event["method"] == method]


def too_wide(page) -> list[str]:
    """What reaches beyond a Playwright page's window, once it is loaded and laid out."""
    page.wait_for_load_state("load")
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.evaluate(
        """() => {
            const root = document.documentElement, width = window.innerWidth;
            const right = (e) => e.getBoundingClientRect().right;
            if (root.scrollWidth <= width) return [];
            const wide = [...document.querySelectorAll("body *")].filter(
                (e) => right(e) > width && !e.parentElement.closest(".scroll"));
            const words = (e) =>
                `${e.tagName}.${e.getAttribute("class")} to ${right(e)}: ` +
                e.textContent.slice(0, 60);
            return [`page ${root.scrollWidth} in window ${width}`, ...wide.map(words)];
        }"""
    )
