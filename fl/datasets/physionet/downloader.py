"""Fetches data sets from PhysioNet, and keeps no file that differs from the published one.

Every file has a published SHA-256. It is fetched to `NAME.part`, which is continued after a
broken connection and gets its final name only when its checksum is right.
"""

import re
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import httpx

from fl.datasets.physionet.checksums import RELATIVE_PATH, SUMS, parse_line, write_sums
from fl.datasets.physionet.remotes import BASE_URL, Remote, known_remote
from fl.util.errors import ConfigError, DataError
from fl.util.file_digest import file_digest

LONGEST_PAUSE = 60.0  # s
_BUSY = (429, 500, 502, 503, 504)  # status codes after which another try may succeed


class DownloadError(DataError):
    """Files that could not be fetched; the same command continues where it stopped."""


@dataclass(frozen=True, kw_only=True)
class DownloadCounts:
    """What a download did, as numbers of files."""

    fetched: int = 0
    kept: int = 0  # were there, with the right checksum
    replaced: int = 0  # were there, with a wrong checksum


Progress = Callable[[int, int], None]  # files done, files in all


@dataclass(frozen=True, kw_only=True)
class Downloader:
    """Fetches data sets over several connections, and tries again when the server is busy."""

    base_url: str = BASE_URL
    jobs: int = 4  # connections at once
    tries: int = 6  # per file, until it is complete
    pause: float = 1.0  # s before the second try; doubles with each further one
    timeout: float = 30.0  # s without a byte
    stop: threading.Event = field(default_factory=threading.Event)

    def fetch(self, name: str, folder: Path, progress: Progress | None = None) -> DownloadCounts:
        """Bring all needed files of a data set into the folder.

        Raises DownloadError if some could not be fetched, DataError if the disk is full or not
        writable, and ConfigError for an unknown data set or address.
        """
        remote = known_remote(name)
        with self._client() as client:
            sums = self._published_sums(client, name, remote)
            _check_space(folder, remote, sums)
            counts = self._fetch_all(client, remote, folder, sums, progress)
        write_sums(folder, sums)
        return counts

    def _client(self) -> httpx.Client:
        if not _is_web_address(self.base_url):
            raise ConfigError(
                f"--base-url is {self.base_url!r}. Accepted: an http or https address."
            )
        # Compressed replies could not be continued, because ranges count the bytes that are sent.
        headers = {"Accept-Encoding": "identity", "User-Agent": "heartfed"}
        limits = httpx.Limits(max_connections=self.jobs)
        return httpx.Client(
            headers=headers, timeout=self.timeout, limits=limits, follow_redirects=True
        )

    def _published_sums(self, client: httpx.Client, name: str, remote: Remote) -> dict[str, str]:
        """SHA-256 of each needed file, by its path in the data set."""
        url = f"{self.base_url.rstrip('/')}/{remote.project}/{SUMS}"
        text = self._fetch_text(client, url)
        sums = {}
        for line in text.splitlines():
            digest, path = parse_line(line)
            inside = path.removeprefix(remote.inside)
            if path == remote.inside + inside and re.fullmatch(remote.wanted, inside):
                if not RELATIVE_PATH.fullmatch(inside) or not re.fullmatch("[0-9a-f]{64}", digest):
                    raise DownloadError(
                        f"{url}: unexpected line {line[:80]!r}. Is this PhysioNet or a mirror?"
                    )
                sums[inside] = digest
        if not sums:
            raise DownloadError(f"{url}: lists no file of {name}. Is this PhysioNet or a mirror?")
        return sums

    def _fetch_text(self, client: httpx.Client, url: str) -> str:
        for attempt in range(1, self.tries + 1):
            try:
                reply = client.get(url)
            except httpx.RequestError as error:
                self._wait(url, attempt, _description(error))
                continue
            if reply.status_code == 200:
                return reply.text
            self._handle_refusal(url, attempt, reply)
        raise AssertionError("the last try raises")

    def _fetch_all(
        self,
        client: httpx.Client,
        remote: Remote,
        folder: Path,
        sums: dict[str, str],
        progress: Progress | None,
    ) -> DownloadCounts:
        url = f"{self.base_url.rstrip('/')}/{remote.project}/{remote.inside}"
        outcomes: list[str] = []
        failures: list[DownloadError] = []
        with ThreadPoolExecutor(self.jobs) as pool:
            futures = [
                pool.submit(self._fetch_file, client, url + quote(path), folder / path, digest)
                for path, digest in sums.items()
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
                # Ctrl-C or a full disk: files that are being fetched stop at their next chunk.
                self.stop.set()
                pool.shutdown(cancel_futures=True)
                raise
        if failures:
            raise _combined(failures, len(sums))
        return DownloadCounts(
            fetched=outcomes.count("fetched"),
            kept=outcomes.count("kept"),
            replaced=outcomes.count("replaced"),
        )

    def _fetch_file(self, client: httpx.Client, url: str, path: Path, digest: str) -> str:
        """Make sure that a file exists with the right checksum: kept, replaced or fetched."""
        if self.stop.is_set():
            raise DownloadError(f"{url}: stopped.")
        try:
            existed = path.is_file()
            if existed and file_digest(path) == digest:
                return "kept"
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fetch_verified(client, url, path, digest)
        except OSError as error:
            self.stop.set()  # on a full or read-only disk every other file would fail too
            raise DataError(
                f"{path}: cannot be written ({error.strerror}). Make room, or name another "
                "--data-dir."
            ) from error
        return "replaced" if existed else "fetched"

    def _fetch_verified(self, client: httpx.Client, url: str, path: Path, digest: str) -> None:
        """Fetch a file until its checksum is right, at most twice."""
        part = path.with_name(path.name + ".part")
        continued = part.exists()
        # A part left by an earlier run may be wrong, which is not the server's fault.
        for _ in range(3 if continued else 2):
            self._fetch_rest(client, url, part)
            if file_digest(part) == digest:
                part.replace(path)
                return
            part.unlink()
        raise DownloadError(
            f"{url}: the content differs from its published SHA-256, twice. Nothing was kept. "
            "Try later, or another --base-url."
        )

    def _fetch_rest(self, client: httpx.Client, url: str, part: Path) -> None:
        """Fetch the bytes that `part` does not have yet."""
        for attempt in range(1, self.tries + 1):
            size = part.stat().st_size if part.exists() else 0
            headers = {"Range": f"bytes={size}-"} if size else {}
            try:
                with client.stream("GET", url, headers=headers) as reply:
                    if reply.status_code in (200, 206):
                        self._append(reply, part, size, url)
                        return
                    if reply.status_code == 416:  # no more bytes; the checksum decides
                        return
                    self._handle_refusal(url, attempt, reply)
            except httpx.RequestError as error:
                self._wait(url, attempt, _description(error))

    def _append(self, reply: httpx.Response, part: Path, size: int, url: str) -> None:
        """Append a reply to `part`, or start it again if the server sent the whole file."""
        partial = reply.status_code == 206
        continues = partial and reply.headers.get("Content-Range", "").startswith(f"bytes {size}-")
        with part.open("ab" if continues else "wb") as file:
            if partial and not continues:
                raise httpx.RemoteProtocolError("another range than the requested one")
            for chunk in reply.iter_raw():  # written as it arrives, so that a break loses nothing
                file.write(chunk)
                if self.stop.is_set():
                    raise DownloadError(f"{url}: stopped.")

    def _handle_refusal(self, url: str, attempt: int, reply: httpx.Response) -> None:
        """Wait if the server is busy, else raise `DownloadError`."""
        status = reply.status_code
        if status == 404:
            raise DownloadError(f"{url}: not found (404). Has the data set moved?")
        if status not in _BUSY:
            raise DownloadError(f"{url}: the server answers {status} {reply.reason_phrase}.")
        seconds = reply.headers.get("Retry-After", "")
        retry_after = float(seconds) if seconds.isdigit() else 0.0
        self._wait(url, attempt, f"status {status}", retry_after)

    def _wait(self, url: str, attempt: int, reason: str, retry_after: float = 0.0) -> None:
        """Wait before the next try; `DownloadError` after the last one."""
        if attempt >= self.tries:
            raise DownloadError(
                f"{url}: {reason}, after {attempt} tries. The same command continues from here."
            )
        pause = min(max(self.pause * 2 ** (attempt - 1), retry_after), LONGEST_PAUSE)
        if self.stop.wait(pause):
            raise DownloadError(f"{url}: stopped.")


def _is_web_address(text: str) -> bool:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        return False
    return url.scheme in ("http", "https") and bool(url.host)


def _check_space(folder: Path, remote: Remote, sums: dict[str, str]) -> None:
    """`DataError` before the first byte if the disk has too little room for the missing files."""
    missing = sum(not (folder / path).is_file() for path in sums)
    needed = remote.size * 1_000_000 * missing // len(sums)
    existing = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise DataError(
            f"{folder}: about {needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free. "
            "Make room, or name another --data-dir."
        )


def _description(error: httpx.RequestError) -> str:
    return str(error) or type(error).__name__


def _combined(failures: Sequence[DownloadError], files: int) -> DownloadError:
    """One error for all files that failed."""
    if len(failures) == 1:
        return DownloadError(str(failures[0]))
    return DownloadError(
        f"{len(failures)} of {files} files could not be fetched; the first: {failures[0]}"
    )
