"""Which recordings have an infarction, by each source's own statements."""

import pytest

from fl.ecg.labels import (
    DOUBTFUL,
    SCP_INFARCTION,
    SNOMED_INFARCTION,
    UNKNOWN,
    infarction_of_ptb_codes,
    infarction_of_scp,
    is_snomed,
)


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ({"IMI": 100.0}, 1),
        ({"IMI": 50.0}, 1),
        ({"IMI": 0.0}, 1),  # no likelihood was given
        ({"IMI": 35.0}, DOUBTFUL),
        ({"IMI": 15.0, "ASMI": 35.0}, DOUBTFUL),
        ({"IMI": 15.0, "ASMI": 80.0}, 1),
        ({"INJAS": 100.0}, 1),
        ({"NORM": 100.0, "SR": 0.0}, 0),
        ({"NORM": 80.0, "IMI": 15.0}, DOUBTFUL),
        ({"NORM": 80.0, "AMI": 100.0}, 1),
        ({"LVH": 100.0}, UNKNOWN),
        ({}, UNKNOWN),
    ],
)
def test_statements_of_ptbxl(codes, expected):
    assert infarction_of_scp(codes) == expected


def test_the_superclass_has_fourteen_statements():
    assert len(SCP_INFARCTION) == 14


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        (["164865005"], 1),
        (["426783006", "164865005"], 1),
        (["426783006"], 0),
        (["426783006", "164889003"], UNKNOWN),
        (["164889003"], UNKNOWN),
        ([], UNKNOWN),
    ],
)
def test_codes_of_ptb(codes, expected):
    assert infarction_of_ptb_codes(codes) == expected


def test_the_codes_are_valid():
    assert all(map(is_snomed, SNOMED_INFARCTION))
