"""ISHNE Holter files (Badilini 1998, 10.1111/j.1542-474X.1998.tb00353.x)."""

from fl.datasets.readers.exports.formats.format import Format

FORMAT = Format(
    name="ISHNE",
    reader="ishne_holter",
    suffixes=(".ecg", ".hol"),
    matches=lambda head: head[:8] == b"ISHNE1.0",
)
