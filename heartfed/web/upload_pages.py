"""The pages for uploads: choose a recording, the models' answer to it, its downloads."""

from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from fl.datasets.readers.exports.csv_tables.csv_recording import UNITS
from fl.predict.explanation import ExplainedAnswer
from heartfed.web.pages import page, sorry
from heartfed.web.settings import MIB, Settings
from heartfed.web.upload.answering import AnsweredUpload, answer_upload, explanation
from heartfed.web.upload.beats_shown import part_of_finding
from heartfed.web.upload.kept import GONE, KeptAnswers
from heartfed.web.upload.reading import Unreadable, read_upload
from heartfed.web.upload.received import Upload, UploadError, received
from heartfed.web.upload.replay import why_no_replay
from heartfed.web.upload.view import Asked, content
from heartfed.web.upload.workers import Busy, Workers

HERE = "/"


def routes(settings: Settings, kept: KeptAnswers) -> list[BaseRoute]:
    """What is served under / and /answer; the answers are put into `kept`."""
    pages = UploadPages(settings, kept)
    return [
        Route("/", pages.form),
        Route("/answer", pages.upload, methods=["POST"]),
        Route("/answer", _to_form, methods=["GET"]),
        Route("/answer/{key}", pages.answer),
        Route("/answer/{key}/forget", pages.forget, methods=["POST"]),
        Route("/answer/{key}/{number:int}.{kind}", pages.download),
    ]


async def _to_form(request: Request) -> Response:
    """The address of an upload, loaded again."""
    return RedirectResponse("/", 303)


class UploadPages:
    """The pages with what they share: threads that answer, and the answers of the last minutes."""

    def __init__(self, settings: Settings, kept: KeptAnswers) -> None:
        self.settings = settings
        self.workers = Workers()
        self.kept = kept

    async def form(self, request: Request) -> Response:
        """Where a recording is chosen."""
        return self._form()

    def _form(
        self, problem: str = "", status: int = 200, fields: dict[str, str] | None = None
    ) -> Response:
        return page(
            "upload.html",
            here=HERE,
            status=status,
            title="Upload a recording",
            settings=self.settings,
            limit=self.settings.most_upload / MIB,
            units=list(UNITS),
            problem=problem,
            fields={"fs": "", "unit": "", "leads": ""} | (fields or {}),
        )

    async def upload(self, request: Request) -> Response:
        """Receive a recording, let the models answer it, and go to the page of the answer."""
        given = Upload()
        if not self.settings.models:
            return self._form("No model is loaded. Start `heartfed serve` with --weights.", 409)
        try:
            async with self.workers.place():
                given = await received(request, self.settings.most_upload)
                answer = await self.workers.run(partial(self._answer, given))
        except UploadError as error:
            return self._form(str(error), error.status, given.fields)
        except Unreadable as error:
            return self._form(f"Cannot be read: {error}", 422, given.fields)
        except Busy:
            return self._form("Too many uploads are waiting. Send it again in a minute.", 503)
        finally:
            given.close()
        return RedirectResponse(f"/answer/{self.kept.keep(answer)}", 303)

    def _answer(self, given: Upload) -> AnsweredUpload:
        return answer_upload(read_upload(given), self.settings.models, self.settings.source)

    async def answer(self, request: Request) -> Response:
        """The page of an answer: one part of the recording, and what was answered of it."""
        key = request.path_params["key"]
        upload = self.kept.find(key)
        if upload is None:
            return sorry(410, "No longer kept", GONE, HERE)
        asked = Asked.of(request.query_params)
        shown = await self.workers.run(partial(self._page, upload, asked))
        why_not = why_no_replay(upload.record, self.settings.models)
        return page(
            "answer.html", here=HERE, title=upload.name, key=key, why_no_replay=why_not, **shown
        )

    def _page(self, upload: AnsweredUpload, asked: Asked) -> dict[str, Any]:
        explained: ExplainedAnswer | None = None
        if asked.model is not None and asked.finding is not None:
            explained = explanation(
                upload, asked.model, asked.finding, asked.target, self.settings.source
            )
            if explained is not None:
                part = part_of_finding(upload, asked.model, asked.finding)
                asked = Asked(
                    part=max(part, asked.part),
                    model=asked.model,
                    finding=asked.finding,
                    target=asked.target,
                )
        return content(upload, asked, self.settings.source, explained)

    async def download(self, request: Request) -> Response:
        """One model's answer as `heartfed predict` prints it."""
        upload = self.kept.find(request.path_params["key"])
        if upload is None:
            return sorry(410, "No longer kept", GONE, HERE)
        number, kind = request.path_params["number"], request.path_params["kind"]
        if number >= len(upload.answers) or kind not in ("csv", "json"):
            return sorry(404, "No such file", "Choose one of the downloads of the answer.", HERE)
        answer = upload.answers[number]
        if answer.prediction is None:
            return sorry(404, "No such file", "This model did not answer the recording.", HERE)
        make = answer.as_csv if kind == "csv" else answer.as_json
        text = await self.workers.run(partial(make, self.settings.source))
        media = "text/csv" if kind == "csv" else "application/json"
        named = {"content-disposition": f'attachment; filename="answer-{number + 1}.{kind}"'}
        return Response(text, media_type=media, headers=named)

    async def forget(self, request: Request) -> Response:
        """Drop an answer from memory at once."""
        self.kept.drop(request.path_params["key"])
        return RedirectResponse("/", 303)
