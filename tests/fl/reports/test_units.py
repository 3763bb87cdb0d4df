"""What examples are called."""

from fl.reports.units import counted, units_in

DATA = [
    {"source": "cpsc2018", "examples": 9, "recordings": 9, "patients": 9},
    {"source": "mitdb", "examples": 171, "recordings": 8, "patients": 8},
]
SITES = [
    {"site": "a", "sources": ["mitdb"]},
    {"site": "b", "sources": ["cpsc2018"]},
    {"site": "central", "sources": ["cpsc2018", "mitdb"]},
]
FACTS = {
    "data": [{"sha256": "", "cache": "", "excluded": {}} | entry for entry in DATA],
    "sites": SITES,
}


def test_pieces_of_long_records_are_called_windows():
    unit_at = units_in("rhythm", FACTS)
    assert [unit_at(name) for name in ("a", "b", "mitdb", "central")] == [
        "10 s windows",
        "records",
        "10 s windows",
        "records and 10 s windows",
    ]


def test_beats_are_beats_and_what_is_not_known_is_an_example():
    assert units_in("beat", FACTS)("a") == "beats"
    assert units_in("rhythm", {})("site-1") == "examples"


def test_a_count_names_its_patients():
    assert counted(171, "10 s windows", 8) == "171 10 s windows of 8 patients"
    assert counted(3, "records", 1) == "3 records of 1 patient"
