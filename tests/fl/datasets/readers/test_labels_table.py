"""labels.csv and source.toml: read as their owner wrote them, or refused by file and line."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.small_records import annotate, write

from fl.datasets.data_report import check
from fl.datasets.own_folder import parse_source
from fl.datasets.readers.labels_table import labels_table
from fl.datasets.readers.source_settings import source_settings
from fl.ecg.labels import RHYTHM_CLASSES
from fl.ecg.tasks import BEAT, RHYTHM
from fl.util.errors import DataError, UnusableRecord


@pytest.fixture
def folder(tmp_path):
    """A function that writes the table of a hospital's folder, in which a1 and a2 are records."""
    write(tmp_path, "a1", leads=("II",), fs=250)
    write(tmp_path, "a2", leads=("II",), fs=250, seed=1)

    def made(*lines, columns="record,patient,labels", settings=""):
        (tmp_path / "labels.csv").write_text("\n".join([columns, *lines]) + "\n")
        if settings:
            (tmp_path / "source.toml").write_text(settings)
        return parse_source(f"mysite={tmp_path}")

    return made


def of(record, value):
    return {c for c, label in zip(RHYTHM_CLASSES, record.labels, strict=True) if label == value}


@pytest.mark.parametrize(
    ("lines", "columns", "problem"),
    [
        (["a1,p1,RBBB,PVC"], "record,patient,labels", r"labels\.csv: line 2 has 4 cells"),
        (["a2,p2,AF", "a1,p1"], "record,patient,labels", r"labels\.csv: line 3 has 2 cells"),
        # The second label falls into the next column.
        (["a1,p1,RBBB,PVC"], "record,patient,labels,age", "line 2: column age has 'PVC'"),
        (["a1,p1,RBBB,PVC"], "record,patient,labels,group", "line 2: column group has 'PVC'"),
        (["a1,p1,RBBB,164889003"], "record,patient,labels,note", "line 2: column note has '1648"),
        (["a1,p1,AF,x"], "record,patient,labels,Patient", "has the column 'patient' twice"),
        (["a1,p1,AF,AF"], "record,patient,labels,labels", "has the column 'labels' twice"),
        (["a1,p1,AF,AF"], "record,patient,labels,anotated", "Did you mean annotated"),
        (["a1,p1,AF"], "record,patient,label", "labels is missing. Did you mean label"),
        (["a1,p1,AF", "a1,p1,PVC"], "record,patient,labels", "line 3: .* line 2 has other labels"),
        (["a1;p1;AF;PVC"], "record;patient;labels", r"separated by \| or ;"),
    ],
)
def test_a_table_that_would_be_read_wrongly_is_refused_with_its_line(
    folder, tmp_path, lines, columns, problem
):
    with pytest.raises(DataError, match=problem):
        folder(*lines, columns=columns).record_names(tmp_path)


def test_a_message_about_a_row_has_no_cell_of_the_patient(folder, tmp_path):
    source = folder("a1,Jane Doe,AF,71", "a1,John Doe,AF,71", columns="record,patient,labels,age")
    with pytest.raises(DataError) as refused:
        source.record_names(tmp_path)
    assert "Doe" not in str(refused.value)
    assert "line 3: record a1 is listed twice: line 2 has other patient" in str(refused.value)


def test_a_spreadsheets_table_is_read_with_notes(folder, tmp_path):
    source = folder()
    text = 'Record;Patient;labels;ward\r\na1.hea;Müller;"AF;PVC";B\r\n;;;\r\na2;p2;NSR;A\r\n'
    (tmp_path / "labels.csv").write_bytes((text + "a2;p2;NSR;A\r\n").encode("latin-1"))
    record = source.read(tmp_path, "a1")
    assert (record.patient, of(record, 1)) == ("Müller", {"AF", "PVC"})
    assert source.table_notes(tmp_path) == [
        "labels.csv is not UTF-8 and was read as Latin-1",
        "labels.csv is separated by a semicolon",
        "labels.csv: columns that are not read: ward",
        "labels.csv: rows that repeat another one and are counted once: 1",
    ]


def test_an_edited_table_is_read_again(folder, tmp_path):
    folder("a1,p1,AF")
    assert set(labels_table(tmp_path).rows) == {"a1"}
    folder("a1,p1,AF", "a2,p2,PVC")
    assert set(labels_table(tmp_path).rows) == {"a1", "a2"}


@pytest.mark.parametrize(
    ("line", "present", "absent"),
    [
        ("a1,p1,AF|10370003", {"AF"}, set(RHYTHM_CLASSES) - {"AF"}),  # another diagnosis
        ("a1,p1,AF|123456", {"AF"}, set()),  # no code: it may have been that of any class
    ],
)
def test_codes_of_no_class_beside_a_class_are_kept_and_counted(
    folder, tmp_path, line, present, absent
):
    source = folder(line)
    record = source.read(tmp_path, "a1")
    assert (of(record, 1), of(record, 0)) == (present, absent)
    report = check([source], tmp_path)
    assert report.sources[0].other_codes == {line.split("|")[1]: ["a1"]}
    assert "Diagnosis codes of none of the classes; their records are used" in [
        table.title for table in report.tables()
    ]


def test_a_normal_recording_is_not_taken_for_one_without_nsr(folder, tmp_path):
    source = folder("a1,p1,NORM", settings="labels_complete = true\n")
    record = source.read(tmp_path, "a1")
    assert (of(record, -1), record.infarction) == ({"NSR"}, 0)


ALL = set(RHYTHM_CLASSES)


@pytest.mark.parametrize(
    ("settings", "labels", "present", "absent", "infarction"),
    [
        ("labels_complete = true", "", set(), ALL, -1),
        ("labels_complete = true", "AF", {"AF"}, ALL - {"AF"}, -1),
        ('labels_complete = ["AF", "MI"]', "PVC", {"PVC"}, {"AF"}, 0),
        ('labels_complete = ["AF", "MI"]', "MI", set(), {"AF"}, 1),
        ("labels_complete = false", "AF", {"AF"}, set(), -1),
    ],
)
def test_an_owner_declares_which_labels_are_complete(
    folder, tmp_path, settings, labels, present, absent, infarction
):
    source = folder(f"a1,p1,{labels}", settings=settings + "\n")
    record = source.read(tmp_path, "a1")
    assert (of(record, 1), of(record, 0), record.infarction) == (present, absent, infarction)
    assert tmp_path / "source.toml" in source.files(tmp_path)
    assert "source.toml" in source.table_notes(tmp_path)[0]


def test_known_negatives_by_declaration_are_counted_by_check(folder, tmp_path):
    report = check([folder("a1,p1,", "a2,p2,AF", settings="labels_complete = true")], tmp_path)
    source = report.sources[0]
    assert (source.usable, source.none_of_the_classes) == (2, 1)
    assert source.classes["PVC"] == {"yes": 0, "no": 2, "unknown": 0}


def test_a_records_own_list_of_classes_wins_over_the_declaration(folder, tmp_path):
    columns = "record,patient,labels,annotated"
    source = folder("a1,p1,,PVC", columns=columns, settings="labels_complete = true")
    assert of(source.read(tmp_path, "a1"), 0) == {"PVC"}


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("labels_complete = yes", "cannot be read"),
        ('labels_complete = ["afib"]', "Accepted: true, false, or a list of NSR"),
        ("labels_complet = true", "Did you mean labels_complete"),
    ],
)
def test_a_declaration_with_a_mistake_is_named(folder, tmp_path, settings, problem):
    folder("a1,p1,AF", settings=settings)
    with pytest.raises(DataError, match=rf"source\.toml: .*{problem}"):
        source_settings(tmp_path)


def test_records_without_a_row_and_rows_without_a_record_are_counted(folder, tmp_path):
    write(tmp_path / "ward", "a3", leads=("II",), fs=250, seed=2)
    source = folder("a1,p1,AF", "gone,p2,PVC", "a3,p3,NSR")
    report = check([source], tmp_path).sources[0]
    assert (report.records, report.usable) == (5, 1)
    assert report.unusable == {"missing-file": ["a3", "gone"], "no-row": ["a2", "ward/a3"]}
    assert report.details["ward/a3"].endswith("lists a3: write ward/a3 there")


def test_records_with_beats_join_the_beat_task_beside_listed_ones(folder, tmp_path):
    write(tmp_path, "h1", leads=("II",), fs=250, comments=["patient p1"], seed=3)
    annotate(tmp_path / "h1", "NNVN", step=300)
    source = folder("a1,p1,AF")
    assert source.read(tmp_path, "h1").patient == "p1"
    beats = check([source], tmp_path, task=BEAT).sources[0]
    assert (beats.usable, beats.patients) == (1, 1)
    assert check([source], tmp_path, task=RHYTHM).sources[0].unusable["no-label"] == ["h1"]


def test_a_label_that_is_no_class_costs_one_record(folder, tmp_path):
    source = folder("a1,p1,afib", "a2,p2,AF")
    with pytest.raises(UnusableRecord, match="'afib' is not a class"):
        source.read(tmp_path, "a1")
    assert check([source], tmp_path).sources[0].usable == 1


NAMES = st.lists(st.sampled_from(["AF", "PVC", "RBBB", "MI", "NORM"]), max_size=3, unique=True)
COLUMNS = st.permutations(["patient", "labels", "age", "sex", "note"])


@given(
    rows=st.lists(NAMES, min_size=1, max_size=4),
    columns=COLUMNS,
    separator=st.sampled_from(",;\t"),
    between=st.sampled_from("|;,"),
    quoted=st.booleans(),
    encoding=st.sampled_from(["utf-8-sig", "latin-1"]),
)
def test_labels_are_read_as_they_were_written_or_a_line_is_named(
    tmp_path_factory, rows, columns, separator, between, quoted, encoding
):
    mark = '"' if quoted else ""
    cells = {"patient": "Zoë", "age": "71", "sex": "", "note": ""}
    lines = [separator.join(["record", *columns])]
    for number, names in enumerate(rows):
        row = cells | {"labels": f"{mark}{between.join(names)}{mark}"}
        lines.append(separator.join([f"r{number}", *(row[c] for c in columns)]))
    folder = tmp_path_factory.mktemp("folder")
    (folder / "labels.csv").write_bytes("\r\n".join(lines).encode(encoding))
    read, problem = table_or_problem(folder)
    if problem:
        assert re.search(r"labels\.csv: line \d+", problem)
        assert "Zoë" not in problem
        # Only a separator that is inside a cell and not quoted makes a table unreadable.
        assert (between, quoted) == (separator, False)
        assert any(len(names) > 1 for names in rows)
    else:
        for number, names in enumerate(rows):
            assert re.split(r"[|;,]", read[f"r{number}"]["labels"]) == (names or [""])


def table_or_problem(folder):
    try:
        return labels_table(folder).rows, ""
    except DataError as error:
        return {}, str(error)
