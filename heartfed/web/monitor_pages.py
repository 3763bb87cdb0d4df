"""The pages under /monitor: the trace of a replayed recording, its beats and its alarms.

A browser names a recording by its place in the list of the folder that was given on the command
line, never by a path, or an upload by the key that only its page has. Each page that is open has a
monitor of its own, which ends with it, and with the upload when that is forgotten.
"""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from fl.ecg.records import Record
from fl.monitor.alarms import ALARMS
from fl.monitor.beat_classifier import BeatClassifier
from fl.monitor.demonstration import demonstration
from fl.monitor.events import Event
from fl.monitor.stream import BLOCK_SECONDS, Monitor
from fl.predict.input_files import read_record
from fl.predict.recording_list import recordings_named
from fl.util.errors import ConfigError, DataError
from heartfed.web.pages import page, sorry
from heartfed.web.settings import ServedModel, Settings
from heartfed.web.upload.kept import GONE, KeptAnswers
from heartfed.web.upload.replay import UPLOADED, models_of_monitor, why_no_replay

MOST_MONITORS = 8  # open at the same time
MOST_LISTED = 200  # recordings on the page
SPEEDS = (1.0, 2.0, 5.0, 10.0, 60.0)
TRACE_FS = 125.0  # Hz, about, of the samples that are drawn
HERE = "/monitor"


@dataclass(kw_only=True)
class Sessions:
    """The monitors that are open, by a name that only their page knows."""

    monitors: dict[str, Monitor] = field(default_factory=dict)
    acknowledged: dict[str, list[str]] = field(default_factory=dict)  # alarms, to be looked at


def routes(settings: Settings, kept: KeptAnswers) -> list[BaseRoute]:
    """What is served under /monitor; uploads in `kept` may be replayed."""
    sessions = Sessions()
    every = _recordings(settings)
    choices = every[: MOST_LISTED + 1]

    async def show(request: Request) -> Response:
        key = request.query_params.get(UPLOADED, "")
        uploaded = kept.find(key) if key else None
        if key and uploaded is None:
            return sorry(410, "No longer kept", GONE, HERE)
        if uploaded and (why_not := why_no_replay(uploaded.record, settings.models)):
            return sorry(400, "Monitor", f"This upload cannot be replayed: {why_not}.", HERE)
        return page(
            "monitor.html",
            here=HERE,
            title="Monitor",
            choices=[name for name, _ in choices],
            not_listed=len(every) - len(choices),
            uploaded=uploaded.name if uploaded else "",
            key=key,
            models=[one.name for one in models_of_monitor(settings.models)],
            speeds=SPEEDS,
            rules=list(ALARMS.values()),
        )

    async def stream(request: Request) -> Response:
        if len(sessions.monitors) >= MOST_MONITORS:
            return sorry(503, "Monitor", f"{MOST_MONITORS} monitors are open. Close one.", HERE)
        try:
            place, model, speed = _asked(request, len(choices), models_of_monitor(settings.models))
            if place is None:
                record = _uploaded(kept, request, settings)
            else:
                record = await asyncio.to_thread(_read, choices[place][1])
        except (ConfigError, DataError) as error:
            return sorry(400, "Monitor", str(error), HERE)
        classifier = BeatClassifier(model.model, settings.source) if model else None
        monitor = Monitor(record.leads, record.fs, classifier)
        # Asked before every block: an upload that is forgotten is replayed no further.
        key = request.query_params.get(UPLOADED, "")
        there = (lambda: kept.find(key) is not None) if place is None else (lambda: True)
        return StreamingResponse(
            _events(settings, sessions, monitor, record, speed, there),
            media_type="text/event-stream",
        )

    async def acknowledge(request: Request) -> Response:
        form = await request.form(max_files=0, max_fields=4, max_part_size=1024)
        session, alarm = str(form.get("session", "")), str(form.get("alarm", ""))
        if session not in sessions.monitors or alarm not in ALARMS:
            return JSONResponse({"error": "no such monitor or alarm"}, 404)
        waiting = sessions.acknowledged[session]
        if alarm not in waiting:
            waiting.append(alarm)
        return JSONResponse({})

    return [
        Route(HERE, show),
        Route(f"{HERE}/events", stream),
        Route(f"{HERE}/acknowledge", acknowledge, methods=["POST"]),
    ]


def _recordings(settings: Settings) -> list[tuple[str, str]]:
    """Name on the page and path of each recording; the first is the synthetic one, without path."""
    found = [("Synthetic signal (no patient)", "")]
    if settings.recordings is not None:
        listed = recordings_named([str(settings.recordings)], [])
        folder = f"{settings.recordings}/"
        found += [(path.removeprefix(folder), path) for path in sorted(listed.names)]
    return found


def _asked(
    request: Request, choices: int, models: list[ServedModel]
) -> tuple[int | None, ServedModel | None, float]:
    """The recording's place in the list, the model, and the speed; `ConfigError` otherwise.

    The place is None for an upload.
    """
    given = request.query_params
    try:
        recording, speed = given.get("recording", "0"), float(given.get("speed", "1"))
        place = None if recording == UPLOADED else int(recording)
        which = int(given.get("model", "0"))
    except ValueError:
        raise ConfigError("The address of this stream is not one that the page makes.") from None
    offered = place is None or 0 <= place < choices
    if not offered or speed not in SPEEDS or not 0 <= which <= len(models):
        raise ConfigError("This recording, model or speed is not offered. Load the page again.")
    return place, models[which - 1] if which else None, speed


def _uploaded(kept: KeptAnswers, request: Request, settings: Settings) -> Record:
    """The recording of an upload; `DataError` if it cannot be replayed."""
    found = kept.find(request.query_params.get(UPLOADED, ""))
    if found is None or found.record is None:
        raise DataError(GONE)
    if why_not := why_no_replay(found.record, settings.models):
        raise DataError(f"This upload cannot be replayed: {why_not}.")
    return found.record


def _read(path: str) -> Record:
    """The recording, or the synthetic one."""
    if not path:
        return demonstration()
    try:
        return read_record(path, None, "")
    except (ConfigError, DataError) as error:
        # Not the path: it is of the machine that serves.
        raise DataError(str(error).replace(path, Path(path).name)) from None


async def _events(
    settings: Settings,
    sessions: Sessions,
    monitor: Monitor,
    record: Record,
    speed: float,
    there: Callable[[], bool],
) -> AsyncIterator[str]:
    """Events for the page: what is drawn, and what the monitor reports, while that is kept."""
    name = secrets.token_urlsafe(16)
    sessions.monitors[name], sessions.acknowledged[name] = monitor, []
    size = max(1, round(BLOCK_SECONDS * record.fs))
    thin = max(1, round(record.fs / TRACE_FS))
    place = record.leads.index(monitor.lead)
    began = time.monotonic()
    try:
        yield _message(
            "start",
            session=name,
            lead=monitor.lead,
            fs=record.fs / thin,
            seconds=record.signal.shape[1] / record.fs,
            synthetic=record.source == "synthetic",
        )
        for start in range(0, record.signal.shape[1], size):
            due = began + (start + size) / record.fs / speed
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if settings.closing.is_set():
                return
            if not there():
                yield _message("gone")
                return
            block = record.signal[:, start : start + size]
            found = await asyncio.to_thread(partial(_push, sessions, name, block))
            drawn = block[place, (-start) % thin :: thin]
            yield _message(
                "block",
                first=-(-start // thin),
                samples=[round(float(v), 3) if np.isfinite(v) else None for v in drawn],
                events=[event.json for event in found],
            )
        yield _message("end", events=[event.json for event in monitor.finish()])
    finally:
        sessions.monitors.pop(name, None)
        sessions.acknowledged.pop(name, None)


def _push(sessions: Sessions, name: str, block: np.ndarray[Any, Any]) -> list[Event]:
    """The events of a block, after the alarms that somebody has seen in the meantime."""
    monitor, waiting = sessions.monitors[name], sessions.acknowledged[name]
    found: list[Event] = []
    while waiting:
        found += monitor.acknowledge(waiting.pop(0))
    return [*found, *monitor.push(block)]


def _message(kind: str, **content: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps(content, allow_nan=False)}\n\n"
