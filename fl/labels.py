"""Class lists of both tasks and the mappings from every source's codes to them."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

# The nine classes of CPSC2018 (Liu et al. 2018, 10.1166/jmihi.2018.2442), in its own order.
RHYTHM_CLASSES = ("NSR", "AF", "IAVB", "LBBB", "RBBB", "PAC", "PVC", "STD", "STE")

# ANSI/AAMI EC57:2012 heartbeat classes.
BEAT_CLASSES = ("N", "S", "V", "F", "Q")

UNKNOWN = -1  # a class the source never annotated: neither present nor absent

# SNOMED CT codes of the PhysioNet/CinC Challenge 2020 (Perez Alday et al. 2020,
# 10.1088/1361-6579/abc960); codes that the Challenge scored as one class are one here.
SNOMED = {
    "426783006": "NSR",
    "164889003": "AF",
    "270492004": "IAVB",
    "164909002": "LBBB",
    "59118001": "RBBB",
    "713427006": "RBBB",
    "284470004": "PAC",
    "63593006": "PAC",
    "164884008": "PVC",
    "427172004": "PVC",
    "17338001": "PVC",
    "429622005": "STD",
    "164931005": "STE",
}

# The class names of CPSC2018's first release, which some headers still carry.
CPSC_TEXT = {
    "Normal": "NSR",
    "AF": "AF",
    "I-AVB": "IAVB",
    "LBBB": "LBBB",
    "RBBB": "RBBB",
    "PAC": "PAC",
    "PVC": "PVC",
    "STD": "STD",
    "STE": "STE",
}

# PTB-XL's SCP-ECG statements (Wagner et al. 2020, 10.1038/s41597-020-0495-6).
SCP = {
    "NORM": "NSR",
    "AFIB": "AF",
    "1AVB": "IAVB",
    "CLBBB": "LBBB",
    "CRBBB": "RBBB",
    "PAC": "PAC",
    "PVC": "PVC",
    "STD_": "STD",
    "STE_": "STE",
}

# PhysioNet beat symbols to AAMI classes; other symbols are no beats. `e` and `j` are escape
# beats and stay in N, as in ANSI/AAMI EC57 (some published work puts them in S).
AAMI = {
    **dict.fromkeys("NLRej", "N"),
    **dict.fromkeys("AaJS", "S"),
    **dict.fromkeys("VE", "V"),
    "F": "F",
    **dict.fromkeys("/fQ", "Q"),
}


def label_vector(
    names: Iterable[str], annotated: Iterable[str], classes: tuple[str, ...] = RHYTHM_CLASSES
) -> NDArray[np.int8]:
    """Labels of one recording: 1 if named, 0 if annotated but not named, -1 otherwise."""
    named, known = set(names), set(annotated)
    return np.array(
        [1 if c in named else 0 if c in known else UNKNOWN for c in classes], dtype=np.int8
    )


def mapped(codes: Iterable[str], *tables: Mapping[str, str]) -> list[str]:
    """Classes of the given codes in order of first appearance; codes of no table are dropped."""
    found: dict[str, None] = {}
    for code in codes:
        for table in tables:
            if code.strip() in table:
                found[table[code.strip()]] = None
    return list(found)
