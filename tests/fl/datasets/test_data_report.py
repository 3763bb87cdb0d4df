"""`check` reads every record and reports which are usable, which are not, and why."""

import json

import numpy as np
import pytest
from support.small_records import challenge, holter, ptbxl, waves, write

from fl.datasets import DATASETS
from fl.datasets.__main__ import main
from fl.datasets.data_report import SourceReport, check
from fl.datasets.data_report.detail_tables import MOST_FINDINGS, unusable


@pytest.fixture
def root(tmp_path):
    """Good records, a copy in another source, a broken one, Holters, one without a class."""
    signal = waves(12, 4000, seed=1)
    flat = waves(12, 4000, seed=2)
    flat[:, 3] = 0
    challenge(tmp_path / "cpsc2018", "A0001", signal=signal)
    challenge(tmp_path / "cpsc2018", "A0002", signal=flat)
    challenge(tmp_path / "cpsc2018", "A0003", seed=3).with_suffix(".mat").unlink()
    write(
        tmp_path / "cpsc2018-lead1",
        "A0001",
        leads=("I",),
        signal=8 * np.round(signal[:, :1], 3),
        unit="NU",
        comments=["Dx: RBBB"],
    )
    holter(tmp_path / "mitdb", "101", symbols="+NNA")
    holter(tmp_path / "mitdb", "102", symbols="+//V", seed=1)
    holter(tmp_path / "mitdb", "202", symbols="+NVF", leads=("V1", "V2"), seed=2)
    ptbxl(tmp_path, codes="{}")
    return tmp_path


def test_everything_is_read_counted_and_named(root):
    sources = [s for s in DATASETS.values() if not s.card.synthetic and s.exists(root)]
    report = {s.name: s for s in check(sources, root).sources}
    cpsc, holters = report["cpsc2018"], report["mitdb"]
    assert (cpsc.records, cpsc.usable, cpsc.patients) == (3, 2, 2)
    assert cpsc.unusable == {"missing-file": ["A0003"]}
    assert cpsc.details == {"A0003": "A0003.mat does not exist"}
    assert cpsc.missing_leads == {"aVR": ["A0002"]}
    assert cpsc.classes["RBBB"] == {"yes": 2, "no": 0, "unknown": 0}
    assert report["ptbxl"].unusable == {"no-label": ["00001"]}
    assert holters.missing_leads["II"] == ["202"]
    counted = {
        name: "".join(c * n for c, n in counts.beats.items())
        for name, counts in holters.beats.items()
    }
    assert counted == {"DS1": "NNS", "DS2": "NVF", "all non-paced": "NNNSVF", "paced": "VQQ"}


def test_a_copy_in_another_source_is_found_across_units(root):
    sources = [DATASETS["cpsc2018"], DATASETS["cpsc2018-lead1"]]
    copy = check(sources, root).sources[1]
    assert copy.duplicates == {"A0001": "cpsc2018/A0001"}
    assert (copy.usable, copy.unusable) == (0, {"duplicate": ["A0001"]})


def test_copies_among_records_without_a_label_are_reported_too(root):
    ptbxl(root, 2, codes="{}")
    path = root / "ptbxl" / "records100" / "00000" / "0000{}_lr{}"
    for suffix in (".hea", ".dat"):
        first, second = (path.with_name(f"0000{n}_lr{suffix}") for n in (1, 2))
        second.write_bytes(first.read_bytes().replace(b"00001_lr", b"00002_lr"))
    report = check([DATASETS["ptbxl"]], root).sources[0]
    assert report.duplicates == {"00002": "ptbxl/00001"}
    assert report.unusable == {"no-label": ["00001", "00002"]}


def test_usable_records_that_show_no_heartbeats_are_counted_with_the_reason(root):
    noise = np.random.default_rng(0).normal(0, 0.3, (5000, 12))
    challenge(root / "cpsc2018", "A0005", signal=noise)
    report = check([DATASETS["cpsc2018"]], root)
    assert report.sources[0].usable == 3
    assert report.sources[0].cannot_say == {"noise": ["A0005"]}
    assert any("`cannot say`; training keeps them" in str(t.title) for t in report.tables())


def test_files_that_differ_from_their_published_sums_are_named(root):
    (root / "mitdb" / "SHA256SUMS.txt").write_text(f"{'0' * 64}  101.atr\n")
    assert check([DATASETS["mitdb"]], root).sources[0].altered == ["101.atr"]


@pytest.mark.parametrize("record", ["cpsc2018 A0001", "cpsc2018-lead1 A0001", "mitdb 101"])
def test_the_command_draws_a_record(root, tmp_path, capsys, record):
    path = tmp_path / "sheet.svg"
    assert main(["plot", *record.split(), "--data-dir", str(root), "--out", str(path)]) == 0
    assert capsys.readouterr().out.strip() == str(path)
    assert "<svg" in path.read_text()


@pytest.mark.parametrize(
    ("record", "out", "problem"),
    [
        ("A0003", "sheet.png", "A0003: a file is missing"),
        ("A0001", "sheet.pdf", "Accepted: .png or .svg"),
        ("A0001", "gone/sheet.png", "cannot be written"),
    ],
)
def test_a_record_that_cannot_be_drawn_is_explained(root, capsys, record, out, problem):
    arguments = ["plot", "cpsc2018", record, "--data-dir", str(root), "--out", str(root / out)]
    assert main(arguments) == 2
    assert problem in capsys.readouterr().err


def test_the_command_prints_tables(root, capsys):
    assert main(["check", "--data-dir", str(root)]) == 0
    printed = capsys.readouterr().out
    for expected in ("cpsc2018-lead1", "missing-file", "cpsc2018/A0001", "all non-paced"):
        assert expected in printed


def test_the_tables_have_the_words_of_the_field(root):
    reports = check([DATASETS["cpsc2018"], DATASETS["cpsc2018-lead1"]], root)
    overview, *others = reports.tables()
    assert [str(column.header) for column in overview.columns] == [
        *("Source", "Records", "Usable", "No class", "Patients", "Unusable", "Copies"),
        "Records without a lead",
    ]
    assert [table.title for table in others] == [
        "Unusable records",
        "Records with the same signal",
        "Usable records without a lead",
        "Usable records by rhythm class",
    ]


def test_the_command_prints_json_of_the_named_sources(root, capsys, monkeypatch):
    monkeypatch.setenv("ECG_DATA", str(root))
    assert main(["check", "--json", "mitdb"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [s["name"] for s in printed["sources"]] == ["mitdb"]


def test_a_users_own_folder_is_checked(root, tmp_path_factory, capsys):
    own = tmp_path_factory.mktemp("own")
    write(own, "one")
    (own / "labels.csv").write_text("record,patient,labels\none,p1,AF\n")
    assert main(["check", "--json", f"mysite={own}"]) == 0
    assert json.loads(capsys.readouterr().out)["sources"][0]["usable"] == 1


def test_one_folder_that_cannot_be_read_does_not_stop_the_check_of_the_others(
    root, tmp_path_factory, capsys
):
    empty, broken = tmp_path_factory.mktemp("empty"), tmp_path_factory.mktemp("broken")
    (broken / "labels.csv").write_text("record,patient,labels\na1,p1,RBBB,PVC\n")
    names = [f"none={empty}", f"wrong={broken}", f"gone={empty}/x", "mitbd", "mitdb"]
    assert main(["check", *names, "--data-dir", str(root)]) == 2
    printed = capsys.readouterr()
    assert "all non-paced" in printed.out
    errors = printed.err.splitlines()
    assert len(errors) == 4
    for error, text in zip(
        errors,
        ("for gone, which does not exist", "'mitbd'", "no such file", "line 2 has 4 cells"),
        strict=True,
    ):
        assert error.startswith("error: ")
        assert text in error
    assert main(["check", "--json", *names, "--data-dir", str(root)]) == 2
    assert set(json.loads(capsys.readouterr().out)["problems"]) == {"none", "wrong"}


def test_a_folder_without_the_right_to_read_it_is_named(root, monkeypatch):
    mitdb, cpsc = DATASETS["mitdb"], DATASETS["cpsc2018"]

    def refuse(*_):
        raise PermissionError(13, "Permission denied", str(root / "mitdb"))

    monkeypatch.setattr(type(mitdb), "record_names", refuse)
    report = check([mitdb, cpsc], root)
    assert [s.name for s in report.sources] == ["cpsc2018"]
    assert f"{root / 'mitdb'}: cannot be read (Permission denied)" in report.problems["mitdb"]


def test_the_tables_show_what_was_found_in_each_record(root, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("A0004", "A0006"):
        challenge(root / "cpsc2018", name, seed=4).with_suffix(".mat").unlink()
    assert main(["check", "cpsc2018", "--data-dir", str(root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (found,) = [line for line in lines if "<record>.mat does not exist" in line]
    assert "A0003 A0004 A0006" in found
    assert any("aVR" in line and "A0002" in line for line in lines)
    (present,) = [line for line in lines if "RBBB" in line]
    assert present.split()[3:8:2] == ["RBBB", "2", "0"]


def test_many_findings_are_counted_where_they_are_not_shown(root):
    names = [f"S{i}" for i in range(30)]
    report = SourceReport(name="mysite", title="", licence="", records=30)
    report.unusable = {"no-label": names}
    report.details = {name: f"{i} is not a class" for i, name in enumerate(names)}
    columns = [list(column.cells) for column in unusable([report]).columns]
    assert len(columns[0]) == MOST_FINDINGS + 1
    assert columns[2][-1] == f"{30 - MOST_FINDINGS} other findings: see --json"
    assert columns[3][-1] == str(30 - MOST_FINDINGS)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["check"], "no data set found"),
        (["check", "mitdb"], "mitdb: no such folder"),
        (["check", "mitbd"], "sources has 'mitbd'"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, arguments, problem, capsys):
    assert main([*arguments, "--data-dir", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert problem in printed.err
    assert printed.err.count("\n") == 1
    assert not printed.out


def test_whole_beats_are_counted_by_class_and_those_left_out_by_code(root, capsys):
    command = ["check", "mitdb", "--task", "beat7", "--data-dir", str(root)]
    assert main([*command, "--json"]) == 0
    (source,) = json.loads(capsys.readouterr().out)["sources"]
    # 101 has N N A, 102 / / V, both with the first and the last beat without a neighbour; 202 has
    # neither lead II nor V5.
    classes = {"N": 1, "L": 0, "R": 0, "A": 0, "V": 0, "/": 1, "E": 0}
    assert source["whole_beats"] == classes
    assert source["whole_beats_left_out"] == {"first or last": 4}
    assert source["unusable"] == {"lead-names": ["202"]}
    assert main(command) == 0
    assert "/: 1" in capsys.readouterr().out
