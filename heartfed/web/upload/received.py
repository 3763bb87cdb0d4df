"""Receives an upload in memory, counting its bytes as they come."""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from typing import BinaryIO

from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

MOST_FILES, MOST_FIELDS, LONGEST_FIELD = 20, 20, 10_000  # bytes of a field
# A browser shows no answer to an upload that it is still sending, so the rest of one that is too
# large is read and thrown away, up to this.
THROWN_AWAY = 8  # times what is accepted
DAMAGED = (
    f"The upload is damaged, or has more than {MOST_FILES} files. Choose the files of one "
    "recording and send them again."
)
NOT_A_FORM = (MultiPartException, ValueError, LookupError)  # what the parser raises
SECONDS = 120.0  # for a whole upload; a slow one would hold its place for ever

# It reports every damaged upload, which gets an answer in words.
logging.getLogger("python_multipart").setLevel(logging.ERROR)


class UploadError(MultiPartException):
    """An upload that is not accepted; `status` is that of the answer.

    Starlette's parser closes the files that it has begun where it meets its own kind of error.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class UploadedFile:
    """A file in memory, under a name that any file system takes."""

    name: str
    content: BinaryIO


@dataclass(frozen=True, kw_only=True)
class Upload:
    """The files and fields of one upload."""

    files: tuple[UploadedFile, ...] = ()
    fields: dict[str, str] = field(default_factory=dict)

    def close(self) -> None:
        """Give the memory of the files back."""
        for file in self.files:
            file.content.close()


class _InMemory(MultiPartParser):
    """Starlette's parser, whose temporary files never move to a disk (0: no limit of size)."""

    spool_max_size = 0


async def received(request: Request, most: int) -> Upload:
    """The upload in a request; UploadError for one of more than `most` bytes, or of no form."""
    try:
        async with asyncio.timeout(SECONDS):
            return await _parsed(request, most)
    except TimeoutError:
        raise UploadError(
            408, f"The upload took longer than {SECONDS:g} s. Send it again."
        ) from None


async def _parsed(request: Request, most: int) -> Upload:
    kind = request.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data"):
        raise UploadError(415, "This is no upload of a form. Choose the files on the page.")
    counted = _Counted(request, most)
    parser = _InMemory(
        request.headers,
        counted.chunks(),
        max_files=MOST_FILES,
        max_fields=MOST_FIELDS,
        max_part_size=LONGEST_FIELD,
    )
    try:
        form = await parser.parse()
    except UploadError:
        await counted.throw_rest_away()
        raise
    except NOT_A_FORM:
        raise UploadError(400, DAMAGED) from None
    files: list[UploadedFile] = []
    fields: dict[str, str] = {}
    for name, value in form.multi_items():
        if isinstance(value, str):
            fields[name] = value
        elif value.filename or value.size:  # a browser sends a part without a name for no file
            files.append(UploadedFile(name=safe_name(value.filename or ""), content=value.file))
    return Upload(files=tuple(files), fields=fields)


class _Counted:
    """The body of a request, counted before anything is made of it."""

    def __init__(self, request: Request, most: int) -> None:
        self.request, self.most, self.read = request, most, 0

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body piece by piece; UploadError as soon as it is too large."""
        self._require_small(int(_length(self.request)))
        try:
            async for chunk in self.request.stream():
                self.read += len(chunk)
                self._require_small(self.read)
                yield chunk
        except ClientDisconnect:
            raise UploadError(400, "The upload broke off. Send it again.") from None

    def _require_small(self, size: int) -> None:
        if size > self.most:
            limit = f"{self.most / 2**20:g} MiB"
            raise UploadError(
                413,
                f"The upload is larger than {limit}, which this server accepts. Send a part of the "
                "recording, start `heartfed serve` with a larger --max-upload-mib, or use "
                "`heartfed predict`, which reads files of any size.",
            )

    async def throw_rest_away(self) -> None:
        """Read what is left and keep nothing of it."""
        with suppress(Exception):
            async for chunk in self.request.stream():
                self.read += len(chunk)
                if self.read > THROWN_AWAY * self.most:
                    return


def _length(request: Request) -> str:
    stated = request.headers.get("content-length", "0")
    return stated if stated.isascii() and stated.isdigit() else "0"


def safe_name(name: str) -> str:
    """The last part of a file's name, of letters, digits and . _ - alone: `../=x.csv` -> `x.csv`.

    So it is a name on every file system, is no formula in a spreadsheet and no markup.
    """
    last = PureWindowsPath(PurePosixPath(name).name).name
    kept = re.sub(r"[^\w.-]", "_", last).lstrip("._-")
    stem, dot, suffix = kept.rpartition(".")
    return (
        f"{(stem or suffix)[:80]}{dot and stem and '.'}{suffix[:10] if stem else ''}" or "recording"
    )
