"""Server-sent events of a run: what is sent, when they end, and how many may listen."""

import asyncio
import json
import threading
from functools import partial

import pytest
from support.live_runs import LiveRun

from heartfed.web.runs import events as module
from heartfed.web.runs.catalog import Catalog
from heartfed.web.runs.events import Listeners, events
from heartfed.web.runs.view import view_of
from heartfed.web.settings import Settings


class Page:
    """A browser's page, which may be left."""

    left = False

    async def is_disconnected(self):
        return self.left


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LOOK", 0.02)
    made = LiveRun(tmp_path / "run")
    made.round()
    return made


def listen(run, page, listeners, closing=None):
    view = partial(view_of, Catalog(Settings(runs=run.folder.parent)), "run")
    return events(page, run.folder, view, closing or threading.Event(), listeners)


def read(text):
    name, data = text.removesuffix("\n\n").split("\n")
    return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def test_each_round_is_sent_until_the_run_is_over(run):
    listeners = Listeners()

    async def follow():
        stream, heard = listen(run, Page(), listeners), []
        with run.held():
            async for text in stream:
                heard.append(read(text))
                assert listeners.now == 1
                if len(heard) < 3:
                    run.round()
                elif len(heard) == 3:
                    run.write(status="failed", error="KeyboardInterrupt: ")
        return heard

    first, second, third, fourth, last = asyncio.run(follow())
    assert set(first[1]["sections"]) == {
        *("progress", "results", "curves", "sites", "failures", "rounds")
    }
    assert "failures" not in second[1]["sections"]  # it has not changed
    assert [e[1]["headline"] for e in (first, second, third, fourth)] == [
        *(f"running: FedAvg round {n}" for n in (1, 2)),
        "running: testing the models",
        "interrupted: FedAvg round 3",
    ]
    assert last == ("over", {})
    assert listeners.now == 0


@pytest.mark.parametrize("why", ["left", "closing", "killed", "deleted"])
def test_they_end_when_there_is_nothing_to_follow_or_nobody_follows(run, why):
    page, closing, listeners = Page(), threading.Event(), Listeners()

    async def follow():
        stream = listen(run, page, listeners, closing)
        with run.held():
            await anext(stream)
            page.left = why == "left"
            if why == "closing":
                closing.set()
            if why == "deleted":
                (run.folder / "run.json").unlink()
            if why != "killed":
                return [read(text)[0] async for text in stream]
        return [read(text)[0] async for text in stream]

    heard = asyncio.run(asyncio.wait_for(follow(), 20))
    assert heard[-1] == "over"
    assert listeners.now == 0


def test_a_quiet_run_sends_a_comment_now_and_then(run, monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT", 0.02)
    monkeypatch.setattr(module, "REDRAW", 1000.0)

    async def follow():
        stream = listen(run, Page(), Listeners())
        with run.held():
            return [await anext(stream) for _ in range(3)][1:]

    assert asyncio.run(follow()) == [": still here\n\n"] * 2


def test_only_so_many_pages_may_follow(run):
    listeners = Listeners(most=1)

    async def follow():
        one, other = (listen(run, Page(), listeners) for _ in range(2))
        with run.held():
            await anext(one)
            heard = [read(text)[0] async for text in other]
            await one.aclose()
        return heard

    assert asyncio.run(follow()) == ["full"]
    assert listeners.now == 0
