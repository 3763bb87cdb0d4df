"""The library `ecgdatakit`, called so that nothing that it says of a patient goes on.

Its messages quote the file, and its records carry name, birth date and id. Of what it raises only
the kind of error is kept; of what it warns of, only whether it concerns the signals.
"""

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fl.datasets.readers.exports.formats.format import Format
from fl.util.errors import UnusableRecord
from fl.util.imports.fast_import import import_quietly

INSTALL = "pip install 'heartfed[formats]'"
_SHORT = re.compile(
    r"truncat|incomplete|shorter than the frame|odd number of|bytes, expected|ends? past"
    r"|samples?,? .*expected|bytes,.* expected|(?:bytes|samples) decoded|holds no"
)
_GAP = re.compile(r"gaps between data records|starts at pointer")
_MORE = re.compile(r"only the first is read|not loaded|[Aa]dditional \w+ waveform")
IGNORED_SUM = "the signal does not match the file's checksum, which was ignored as asked"
FURTHER_PARTS = "it has further parts, which are not read"


def parse(
    path: Path, name: str, kind: Format, ignore_checksums: bool
) -> tuple[Any, tuple[str, ...]]:
    """The library's record with its leads in mV, and what to note of the file.

    `UnusableRecord` if the library is not installed, if it cannot read the file, or if it found
    the signals shorter than stated, with gaps, or different from their checksum, unless that is to
    be ignored.
    """
    try:
        parser = import_quietly("ecgdatakit.parsing.parser").FileParser()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            parsed = parser.parse(path, units="mV")
    except ImportError:
        raise UnusableRecord(
            name, "no-reader", f"it is a file of the format {kind.name}; install: {INSTALL}"
        ) from None
    except OSError as error:
        raise UnusableRecord(name, "missing-file", f"{path.name}: {error.strerror}") from None
    except Exception as error:  # the library raises many kinds of errors on a broken file
        reason = "truncated" if _SHORT.search(str(error)) else "bad-signal"
        raise UnusableRecord(name, reason, f"{kind.name}: {type(error).__name__}") from None
    if not parsed.source_format.startswith(kind.reader):
        raise UnusableRecord(name, "bad-signal", f"it is not a file of the format {kind.name}")
    return parsed, tuple(dict.fromkeys(_noted(caught, name, kind, ignore_checksums)))


def _noted(
    caught: list[warnings.WarningMessage], name: str, kind: Format, ignore_checksums: bool
) -> Iterator[str]:
    """What to note; `UnusableRecord` for a warning that makes the signals doubtful."""
    for warning in caught:
        text = str(warning.message)
        if _MORE.search(text):
            yield FURTHER_PARTS
        if warning.category.__name__ == "ChecksumWarning":
            if not ignore_checksums:
                raise UnusableRecord(
                    name,
                    "checksum",
                    f"{kind.name}: its own sum differs; export it again, or read it as it is with "
                    "--ignore-checksums",
                )
            yield IGNORED_SUM
        if _SHORT.search(text):
            raise UnusableRecord(name, "truncated", f"{kind.name}: the file ends too early")
        if _GAP.search(text):
            raise UnusableRecord(name, "bad-signal", f"{kind.name}: it has gaps in time")
