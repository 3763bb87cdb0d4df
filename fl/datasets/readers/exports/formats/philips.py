"""XML exports of Philips recorders (`restingecgdata`), compressed (XLI) or not."""

from fl.datasets.readers.exports.formats.format import Format
from fl.datasets.readers.exports.formats.xml_root import root_of

FORMAT = Format(
    name="Philips XML",
    reader="sierra_xml",
    suffixes=(".xml",),
    matches=lambda head: root_of(head) == "restingecgdata",
)
