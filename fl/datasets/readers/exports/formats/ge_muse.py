"""XML exports of GE's MUSE. Of rhythm strip and median beat the rhythm strip is read."""

from fl.datasets.readers.exports.formats.format import Format
from fl.datasets.readers.exports.formats.xml_root import root_of

FORMAT = Format(
    name="GE MUSE XML",
    reader="ge_muse_xml",
    suffixes=(".xml",),
    matches=lambda head: root_of(head).lower() == "restingecg",
)
