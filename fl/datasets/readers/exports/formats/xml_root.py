"""The root element of an XML file, found without parsing the file."""

import re

# Comments, declarations and the document type come before the root element.
_BEFORE = re.compile(r"<!--.*?-->|<\?.*?\?>|<![^>\[]*(\[.*?\])?[^>]*>", re.DOTALL)
_ROOT = re.compile(r"\s*<(?:[\w.-]+:)?([\w.-]+)[\s/>]")


def root_of(head: bytes) -> str:
    """`AnnotatedECG` of a file that begins so; "" if these bytes are not the start of XML."""
    text = head.decode("utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "ignore")
    text = text.lstrip("\ufeff \t\r\n")
    if not text.startswith("<"):
        return ""
    found = _ROOT.match(_BEFORE.sub("", text))
    return found[1] if found else ""
