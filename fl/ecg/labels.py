"""The class lists of the tasks and the mappings from every source's codes to them."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

# The nine classes of CPSC2018 (Liu et al. 2018, 10.1166/jmihi.2018.2442), in its own order.
RHYTHM_CLASSES = ("NSR", "AF", "IAVB", "LBBB", "RBBB", "PAC", "PVC", "STD", "STE")

# ANSI/AAMI EC57:2012 heartbeat classes.
BEAT_CLASSES = ("N", "S", "V", "F", "Q")

# Is there a myocardial infarction? One class, so that a recording without it is a normal one.
INFARCTION_CLASSES = ("MI",)

UNKNOWN = -1  # a class the source never annotated: neither present nor absent
DOUBTFUL = -2  # of an infarction: named, but as something that cannot be excluded

# SNOMED CT codes of the PhysioNet/CinC Challenge 2020 (Perez Alday et al. 2020,
# 10.1088/1361-6579/abc960); codes that the Challenge scored as one class are one here.
SNOMED = {
    "426783006": "NSR",
    "164889003": "AF",
    "270492004": "IAVB",
    "164909002": "LBBB",
    "733534002": "LBBB",
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

# Codes that leave a class open: "bigeminy" or "prolonged PR interval" does not mean that there
# are no premature beats or no AV block. In a record with such a code and without the class, the
# class is "not annotated", never "no". Chosen by us from the Challenges' lists of codes
# (github.com/physionetchallenges/evaluation-2021).
SNOMED_OPEN = {
    "195080001": ("AF",),  # atrial fibrillation and flutter
    "426749004": ("AF",),  # chronic atrial fibrillation
    "282825002": ("AF",),  # paroxysmal atrial fibrillation
    "314208002": ("AF",),  # rapid atrial fibrillation
    "233917008": ("IAVB",),  # AV block, degree not given
    "164947007": ("IAVB",),  # prolonged PR interval
    "6374002": ("LBBB", "RBBB"),  # bundle branch block, side not given
    "251173003": ("PAC",),  # atrial bigeminy
    "251168009": ("PAC",),  # supraventricular bigeminy
    "251170000": ("PAC",),  # blocked premature atrial contraction
    "11157007": ("PVC",),  # ventricular bigeminy
    "251180001": ("PVC",),  # ventricular trigeminy
    "251182009": ("PVC",),  # paired ventricular premature complexes
    "13640000": ("PVC",),  # fusion beats
    "704997005": ("STD",),  # inferior ST depression
    "428750005": ("STD", "STE"),  # nonspecific ST-T abnormality
    "164930006": ("STD", "STE"),  # ST interval abnormal
    "55930002": ("STD", "STE"),  # ST changes
    "426434006": ("STD", "STE"),  # anterior ischaemia
    "425419005": ("STD", "STE"),  # inferior ischaemia
    "425623009": ("STD", "STE"),  # lateral ischaemia
    "413444003": ("STD", "STE"),  # acute myocardial ischaemia
    "164861001": ("STD", "STE"),  # myocardial ischaemia
    "57054005": ("STD", "STE"),  # acute myocardial infarction
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

# SCP-ECG statements that leave a class open, as in `SNOMED_OPEN`.
SCP_OPEN = {
    "LPR": ("IAVB",),  # prolonged PR interval
    "BIGU": ("PAC", "PVC"),  # bigeminy, origin not given
    "TRIGU": ("PAC", "PVC"),  # trigeminy, origin not given
    "PRC(S)": ("PAC", "PVC"),  # premature complexes, origin not given
    "NST_": ("STD", "STE"),  # non-specific ST changes
    **dict.fromkeys(("ISC_", "ISCAL", "ISCAN", "ISCAS", "ISCIL", "ISCIN", "ISCLA"), ("STD", "STE")),
    **dict.fromkeys(("INJAL", "INJAS", "INJIL", "INJIN", "INJLA"), ("STD", "STE")),
}

# Statements of PTB-XL's diagnostic superclass MI (its scp_statements.csv), injuries among them.
SCP_INFARCTION = frozenset(
    {
        *("IMI", "ASMI", "ILMI", "AMI", "ALMI", "LMI", "IPLMI", "IPMI", "PMI"),
        *("INJAS", "INJAL", "INJIN", "INJLA", "INJIL"),
    }
)
SCP_NORMAL = "NORM"
# A report that says "cannot be excluded" or "possible" has a likelihood of 15 or 35, "probable"
# and more have 50, 80 and 100; 0 means that none was given (Wagner et al. 2020).
LEAST_LIKELIHOOD = 50.0

# Codes of the Challenges for an infarction, whatever its age and place. Their lists
# (dx_mapping_*.csv, github.com/physionetchallenges/evaluation-2021) count the first in 368 of
# PTB's 516 records.
SNOMED_INFARCTION = frozenset(("164865005", "57054005", "54329005", "164867002"))
# PTB's copy has this code, "sinus rhythm", in 80 records: those of its healthy controls. Elsewhere
# it says nothing about infarctions, so that only PTB is read in this way.
SNOMED_PTB_HEALTHY = "426783006"

# PTB's own reasons for admission (Bousseljot et al. 1995); every other one is a patient with
# another disease, in whom an infarction was neither found nor excluded.
PTB_REASONS = {"myocardial infarction": 1, "healthy control": 0}

# PhysioNet beat symbols to AAMI classes. `e` and `j`, escape beats of atrium and junction, are N as
# in de Chazal et al. 2004 (10.1109/TBME.2004.827359); PhysioNet's own `bxb` counts them as S, and
# so does some published work. `B`, `n` and `r`, which MIT-BIH does not have, are classed as `bxb`
# does. Other symbols have no class: marks, flutter waves (`!`) and beats of a learning phase (`?`).
AAMI = {
    **dict.fromkeys("NLRBej", "N"),
    **dict.fromkeys("AaJSn", "S"),
    **dict.fromkeys("VEr", "V"),
    "F": "F",
    **dict.fromkeys("/fQ", "Q"),
}
# PhysioNet's codes of heartbeats that have no AAMI class; any other code marks no beat.
BEATS_WITHOUT_CLASS = ("?", "!")


def label_vector(
    names: Iterable[str], annotated: Iterable[str], classes: tuple[str, ...] = RHYTHM_CLASSES
) -> NDArray[np.int8]:
    """Labels of one recording, (class,): 1 if named, 0 if annotated but not named, else -1."""
    named, known = set(names), set(annotated)
    return np.array(
        [1 if c in named else 0 if c in known else UNKNOWN for c in classes], dtype=np.int8
    )


def infarction_of_scp(codes: Mapping[str, float]) -> int:
    """1, 0, DOUBTFUL or UNKNOWN, from PTB-XL's statements and their likelihoods in per cent.

    An infarction counts if one of its statements has a likelihood of 50 or more, or of 0, which
    means that none was given. With smaller ones alone it is doubtful. Without any, a normal ECG
    (NORM) has none; of all other records it is not known.
    """
    likelihoods = [codes[code] for code in codes if code in SCP_INFARCTION]
    if any(value == 0 or value >= LEAST_LIKELIHOOD for value in likelihoods):
        return 1
    if likelihoods:
        return DOUBTFUL
    return 0 if SCP_NORMAL in codes else UNKNOWN


def infarction_of_ptb_codes(codes: Iterable[str]) -> int:
    """1, 0 or UNKNOWN, from the SNOMED CT codes of a record in PTB's Challenge form.

    Only a record with the code of the healthy controls and no other has no infarction.
    """
    found = set(codes)
    if found & SNOMED_INFARCTION:
        return 1
    return 0 if found == {SNOMED_PTB_HEALTHY} else UNKNOWN


def shows_none(labels: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Which examples show none of the classes that they annotate: (example, class) -> (example,).

    These are known negatives. An example that annotates no class is not one of them.
    """
    return np.asarray((labels >= 0).any(axis=1) & ~(labels == 1).any(axis=1))


def is_snomed(code: str) -> bool:
    """Whether a SNOMED CT identifier agrees with its own check digit.

    A damaged digit is noticed in this way instead of being read as another diagnosis. Source:
    Verhoeff 1969, Error detecting decimal codes.
    """
    if not (code.isascii() and code.isdigit() and 6 <= len(code) <= 18):
        return False
    check = 0
    for position, digit in enumerate(reversed(code)):
        check = _dihedral_product(check, _VERHOEFF[position % 8][int(digit)])
    return check == 0


def _dihedral_product(a: int, b: int) -> int:
    """The product of two symmetries of a pentagon: 0-4 are rotations, 5-9 reflections."""
    if a < 5:
        return (a + b) % 5 + (5 if b >= 5 else 0)
    return (a - b) % 5 + (5 if b < 5 else 0)


def _verhoeff_permutations() -> list[list[int]]:
    """The permutation of the digits at each of eight positions."""
    permutation = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]
    positions = [list(range(10))]
    for _ in range(7):
        positions.append([permutation[digit] for digit in positions[-1]])
    return positions


_VERHOEFF = _verhoeff_permutations()


def open_classes(codes: Iterable[str], table: Mapping[str, tuple[str, ...]]) -> set[str]:
    """Classes that one of the codes leaves open: present or absent, it does not say which."""
    return {c for code in codes for c in table.get(code.strip(), ())}


def map_codes(codes: Iterable[str], *tables: Mapping[str, str]) -> list[str]:
    """Classes of the given codes, in order of first appearance; unknown codes are left out."""
    classes: dict[str, None] = {}
    for code in codes:
        for table in tables:
            if code.strip() in table:
                classes[table[code.strip()]] = None
    return list(classes)
