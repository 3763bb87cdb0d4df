"""Fetches data sets from PhysioNet, and keeps nothing that differs from what was published.

Every file has a published SHA-256. It is fetched to `NAME.part`, from where it goes on after a
broken connection, and takes its name only when its sum is right.
"""

import hashlib
import re
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import httpx

from fl.util.errors import ConfigError, DataError

SUMS = "SHA256SUMS.txt"
BASE_URL = "https://physionet.org/files"
LONGEST_PAUSE = 60.0  # s
_BUSY = (429, 500, 502, 503, 504)
_PATH = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*")
_RECORDS = r"(.*/)?([A-Z]+\d+\.(hea|mat)|RECORDS)"


class DownloadError(DataError):
    """Files that could not be fetched; the same command goes on where it stopped."""


@dataclass(frozen=True, kw_only=True)
class Remote:
    """Where a data set lies on PhysioNet, and which of its files are read here."""

    project: str  # slug and version
    inside: str = ""  # folder of the project, with its final slash
    wanted: str = _RECORDS  # pattern of a path below it
    size: int  # MB, about, of the wanted files


_CHALLENGE_2020 = "challenge-2020/1.0.2"
_CHALLENGE_2021 = "challenge-2021/1.0.3"

REMOTES = {
    "cpsc2018": Remote(project=_CHALLENGE_2020, inside="training/cpsc_2018/", size=1_400),
    "cpsc-extra": Remote(project=_CHALLENGE_2020, inside="training/cpsc_2018_extra/", size=700),
    "georgia": Remote(project=_CHALLENGE_2020, inside="training/georgia/", size=1_300),
    "ptb": Remote(project=_CHALLENGE_2020, inside="training/ptb/", size=1_500),
    "incart": Remote(project=_CHALLENGE_2020, inside="training/st_petersburg_incart/", size=850),
    "chapman": Remote(project=_CHALLENGE_2021, inside="training/chapman_shaoxing/", size=1_300),
    "ningbo": Remote(project=_CHALLENGE_2021, inside="training/ningbo/", size=4_400),
    "mitdb": Remote(
        project="mitdb/1.0.0", wanted=r"\d{3}\.(hea|dat|atr)|RECORDS|ANNOTATORS", size=105
    ),
    "ptbxl": Remote(
        project="ptb-xl/1.0.3",
        wanted=r"ptbxl_database\.csv|scp_statements\.csv|LICENSE\.txt|records100/.*\.(hea|dat)",
        size=600,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What a download did: numbers of files."""

    fetched: int = 0
    kept: int = 0  # there already, with the right sum
    replaced: int = 0  # there already, with a wrong sum


Progress = Callable[[int, int], None]  # files done, files in all


@dataclass(frozen=True, kw_only=True)
class Downloader:
    """Fetches with several connections; patient with a busy server, strict about content."""

    base_url: str = BASE_URL
    jobs: int = 4
    tries: int = 6  # per file, until it is whole
    pause: float = 1.0  # s before the second try; doubles with each further one
    timeout: float = 30.0  # s without a byte
    stop: threading.Event = field(default_factory=threading.Event)

    def fetch(self, name: str, folder: Path, progress: Progress | None = None) -> Fetched:
        """Brings all files of a data set into the folder. Raises `DownloadError`."""
        remote = known_remote(name)
        with self._client() as client:
            sums = self._published(client, name, remote)
            _check_space(folder, remote, sums)
            done = self._fetch_all(client, remote, folder, sums, progress)
        _keep_list(folder / SUMS, sums)
        return done

    def _client(self) -> httpx.Client:
        if not _is_web_address(self.base_url):
            raise ConfigError(
                f"--base-url is {self.base_url!r}. Accepted: an http or https address."
            )
        # Compressed replies could not be resumed: a range counts the bytes that are sent.
        headers = {"Accept-Encoding": "identity", "User-Agent": "heartfed"}
        limits = httpx.Limits(max_connections=self.jobs)
        return httpx.Client(
            headers=headers, timeout=self.timeout, limits=limits, follow_redirects=True
        )

    def _published(self, client: httpx.Client, name: str, remote: Remote) -> dict[str, str]:
        """SHA-256 of each wanted file, by its path in the data set."""
        url = f"{self.base_url.rstrip('/')}/{remote.project}/{SUMS}"
        text = self._text(client, url)
        sums = {}
        for line in text.splitlines():
            known, _, path = line.strip().partition(" ")
            path = path.strip().removeprefix("*")  # `*` marks a binary file in such lists
            inside = path.removeprefix(remote.inside)
            if path == remote.inside + inside and re.fullmatch(remote.wanted, inside):
                if not _PATH.fullmatch(inside) or not re.fullmatch("[0-9a-f]{64}", known):
                    raise DownloadError(f"{url}: unexpected line {line[:80]!r}.")
                sums[inside] = known
        if not sums:
            raise DownloadError(f"{url}: lists no file of {name}. Is this PhysioNet or a mirror?")
        return sums

    def _text(self, client: httpx.Client, url: str) -> str:
        for attempt in range(1, self.tries + 1):
            try:
                reply = client.get(url)
            except httpx.RequestError as error:
                self._wait(url, attempt, _kind(error))
                continue
            if reply.status_code == 200:
                return reply.text
            self._refused(url, attempt, reply)
        raise AssertionError("the last try raises")

    def _fetch_all(
        self,
        client: httpx.Client,
        remote: Remote,
        folder: Path,
        sums: dict[str, str],
        progress: Progress | None,
    ) -> Fetched:
        url = f"{self.base_url.rstrip('/')}/{remote.project}/{remote.inside}"
        outcomes: list[str] = []
        failures: list[DownloadError] = []
        with ThreadPoolExecutor(self.jobs) as pool:
            futures = [
                pool.submit(self._one, client, url + quote(path), folder / path, known)
                for path, known in sums.items()
            ]
            try:
                for done, future in enumerate(as_completed(futures), start=1):
                    try:
                        outcomes.append(future.result())
                    except DownloadError as error:
                        failures.append(error)
                    if progress is not None:
                        progress(done, len(sums))
            except BaseException:
                # Ctrl-C or a full disk: what is in flight stops at its next chunk.
                self.stop.set()
                pool.shutdown(cancel_futures=True)
                raise
        if failures:
            raise _together(failures, len(sums))
        return Fetched(
            fetched=outcomes.count("fetched"),
            kept=outcomes.count("kept"),
            replaced=outcomes.count("replaced"),
        )

    def _one(self, client: httpx.Client, url: str, path: Path, known: str) -> str:
        """Makes sure that one file is there with the right sum."""
        if self.stop.is_set():
            raise DownloadError(f"{url}: stopped.")
        try:
            there = path.is_file()
            if there and _sum(path) == known:
                return "kept"
            path.parent.mkdir(parents=True, exist_ok=True)
            self._until_right(client, url, path, known)
        except OSError as error:
            self.stop.set()  # a full or read-only disk stops every file alike
            raise DataError(f"{path}: cannot be written ({error.strerror}).") from error
        return "replaced" if there else "fetched"

    def _until_right(self, client: httpx.Client, url: str, path: Path, known: str) -> None:
        part = path.with_name(path.name + ".part")
        resumed = part.exists()
        # What an earlier run left may itself be wrong, which is not the server's fault.
        for _ in range(3 if resumed else 2):
            self._complete(client, url, part)
            if _sum(part) == known:
                part.replace(path)
                return
            part.unlink()
        raise DownloadError(
            f"{url}: the content differs from its published SHA-256, twice. Nothing was kept. "
            "Try later, or another --base-url."
        )

    def _complete(self, client: httpx.Client, url: str, part: Path) -> None:
        """Fetches what `part` lacks, until the server has no more."""
        for attempt in range(1, self.tries + 1):
            have = part.stat().st_size if part.exists() else 0
            headers = {"Range": f"bytes={have}-"} if have else {}
            try:
                with client.stream("GET", url, headers=headers) as reply:
                    if reply.status_code in (200, 206):
                        self._append(reply, part, have, url)
                        return
                    if reply.status_code == 416:  # nothing lies beyond: its sum will tell
                        return
                    self._refused(url, attempt, reply)
            except httpx.RequestError as error:
                self._wait(url, attempt, _kind(error))

    def _append(self, reply: httpx.Response, part: Path, have: int, url: str) -> None:
        starts = f"bytes {have}-"
        goes_on = reply.status_code == 206 and reply.headers.get("Content-Range", "").startswith(
            starts
        )
        with part.open("ab" if goes_on else "wb") as file:
            if reply.status_code == 206 and not goes_on:
                raise httpx.RemoteProtocolError("another range than the one asked for")
            for chunk in reply.iter_raw():  # as it arrives: what is here at a break is kept
                file.write(chunk)
                if self.stop.is_set():
                    raise DownloadError(f"{url}: stopped.")

    def _refused(self, url: str, attempt: int, reply: httpx.Response) -> None:
        status = reply.status_code
        if status == 404:
            raise DownloadError(f"{url}: not found (404). Has the data set moved?")
        if status not in _BUSY:
            raise DownloadError(f"{url}: the server answers {status} {reply.reason_phrase}.")
        wish = reply.headers.get("Retry-After", "")
        self._wait(url, attempt, f"status {status}", float(wish) if wish.isdigit() else 0.0)

    def _wait(self, url: str, attempt: int, reason: str, wish: float = 0.0) -> None:
        """Waits before the next try, or gives up after the last."""
        if attempt >= self.tries:
            raise DownloadError(
                f"{url}: {reason}, after {attempt} tries. The same command goes on from here."
            )
        pause = min(max(self.pause * 2 ** (attempt - 1), wish), LONGEST_PAUSE)
        if self.stop.wait(pause):
            raise DownloadError(f"{url}: stopped.")


def known_remote(name: str) -> Remote:
    """Where the data set lies; `ConfigError` if it cannot be downloaded."""
    if name not in REMOTES:
        raise ConfigError(f"{name} cannot be downloaded. Known: {', '.join(sorted(REMOTES))}.")
    return REMOTES[name]


def _is_web_address(text: str) -> bool:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        return False
    return url.scheme in ("http", "https") and bool(url.host)


def _check_space(folder: Path, remote: Remote, sums: dict[str, str]) -> None:
    """Refuses before the first byte if the disk cannot hold what is missing."""
    missing = sum(not (folder / path).is_file() for path in sums)
    needed = remote.size * 1_000_000 * missing // len(sums)
    nearest = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(nearest).free
    if needed > free:
        raise DataError(
            f"{folder}: about {needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free. "
            "Make room, or name another --data-dir."
        )


def altered_files(folder: Path) -> list[str]:
    """Files of the folder that differ from the published sums that lie beside them."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    altered = []
    for line in lines:
        known, _, path = line.partition(" ")
        path = path.strip().removeprefix("*")
        if _PATH.fullmatch(path) and (folder / path).is_file() and _sum(folder / path) != known:
            altered.append(path)
    return sorted(altered)


def _keep_list(path: Path, sums: dict[str, str]) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text("".join(f"{known}  {file}\n" for file, known in sorted(sums.items())))
    part.replace(path)


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _kind(error: httpx.RequestError) -> str:
    return str(error) or type(error).__name__


def _together(failures: Sequence[DownloadError], files: int) -> DownloadError:
    if len(failures) == 1:
        return DownloadError(str(failures[0]))
    return DownloadError(
        f"{len(failures)} of {files} files could not be fetched; the first: {failures[0]}"
    )
