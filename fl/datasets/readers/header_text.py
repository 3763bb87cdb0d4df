"""The text of a WFDB header in whatever encoding it was written, and the units that it names."""

import codecs
import re
from types import MappingProxyType

# The micro sign before a V: in UTF-8 (both micro signs, and each encoded twice), Latin-1 and Mac,
# the code pages of DOS (437, 850), Shift JIS, GBK, EUC-KR and Big5.
_MICRO = re.compile(
    rb"(?<=/)(?:\xc3\x82\xc2\xb5|\xc3\x8e\xc2\xbc|\xc2\xb5|\xce\xbc|\xb5|\xe6|\x83\xca|\xa6\xcc"
    rb"|\xa5\xec|\xa3g)(?=[Vv])"
)
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

# What multiplies a value in the unit to give mV. `MV` is not here: it may mean megavolt.
MILLIVOLTS_PER = MappingProxyType(
    {
        **dict.fromkeys(("mV", "mv", "millivolt", "millivolts"), 1.0),
        **dict.fromkeys(("uV", "uv", "UV", "microvolt", "microvolts"), 1e-3),
        **dict.fromkeys(("nV", "nv", "nanovolt", "nanovolts"), 1e-6),
        **dict.fromkeys(("V", "v", "volt", "volts"), 1e3),
    }
)


def header_lines(content: bytes) -> list[str]:
    """The lines of a header; each is decoded by itself, as comments may be in another encoding.

    A micro sign of a unit, in any encoding, becomes the letter u.
    """
    if content.startswith(_UTF_16):
        content = content.decode("utf-16", errors="replace").encode()
    content = content.removeprefix(codecs.BOM_UTF8)
    return [_decoded(_MICRO.sub(b"u", line)) for line in re.split(rb"\r\n|\r|\n", content)]


def _decoded(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")
