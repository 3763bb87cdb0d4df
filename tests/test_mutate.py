"""The tool that puts deliberate faults into the code finds places for them and reports honestly."""

from pathlib import Path

import pytest
from mutate import NOTICED, SURVIVED, Fault, FaultyFinder, faults_of, in_order, report

SOURCE = '''"""A docstring with 1 and min."""

LIMIT = 3


def enough(values: list[int]) -> bool:
    """Whether there are enough."""
    if not values:
        raise ValueError(f"{len(values) + 1} values")
    return max(values) > LIMIT and len(values) >= 2
'''


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "enough.py"
    path.write_text(SOURCE)
    return path


def test_each_operator_constant_and_call_is_changed_once(source):
    after = [fault.after.strip() for fault in faults_of(source)]
    assert sorted(after) == [
        "LIMIT = 4",
        "if not (not values):",
        "if values:",
        "return max(values) > LIMIT and len(values) > 2",
        "return max(values) > LIMIT and len(values) >= 3",
        "return max(values) > LIMIT or len(values) >= 2",
        "return max(values) >= LIMIT and len(values) >= 2",
        "return min(values) > LIMIT and len(values) >= 2",
    ]


def test_a_faulty_module_is_imported_and_the_file_is_left_as_it_is(source, monkeypatch):
    fault = next(fault for fault in faults_of(source) if fault.after == "LIMIT = 4")
    finder = FaultyFinder(Fault(**(vars(fault) | {"path": "enough.py"})))
    module = type("Module", (), {})()
    finder.exec_module(module)
    assert module.LIMIT == 4
    assert Path(source).read_text() == SOURCE


@pytest.mark.parametrize(("noticed", "code"), [(9, 0), (8, 1)])
def test_nine_in_ten_must_be_noticed(capsys, noticed, code):
    fault = Fault(path="a.py", line=1, before="a", after="b", source="")
    verdicts = [NOTICED] * noticed + [SURVIVED] * (10 - noticed)
    assert report([("room", fault)] * 10, verdicts) == code
    assert capsys.readouterr().out.count("a.py:1: a  ->  b") == 10 - noticed


def test_test_files_are_run_once_in_the_order_given(tmp_path):
    for name in ("test_a.py", "test_b.py", "helper.py"):
        (tmp_path / name).touch()
    first = str(tmp_path / "test_b.py")
    assert in_order([first, str(tmp_path)]) == [first, str(tmp_path / "test_a.py")]
