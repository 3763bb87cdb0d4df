"""A hospital's own folder of records and labels is read like any data set."""

import pytest
from support.hospital_files import edf, stored
from support.small_records import annotate, write

from fl.datasets.data_report import check
from fl.datasets.own_folder import parse_source
from fl.ecg.labels import RHYTHM_CLASSES
from fl.ecg.tasks import BEAT, RHYTHM
from fl.util.errors import ConfigError, DataError, UnusableRecord


@pytest.fixture
def site(tmp_path):
    """A hospital's folder: two records, and a function that writes its table."""
    write(tmp_path, "ecg-1", leads=("I", "II"), fs=250, seconds=10)
    write(tmp_path / "ward", "ecg-2", seed=1)

    def table(*lines, columns="record,patient,labels,age,sex,annotated"):
        (tmp_path / "labels.csv").write_text("\n".join([columns, *lines]) + "\n")
        return parse_source(f"mysite={tmp_path}")

    return table


def classes(record, value=1):
    return {c for c, label in zip(RHYTHM_CLASSES, record.labels, strict=True) if label == value}


def test_records_are_read_with_their_table(site, tmp_path):
    source = site("ecg-1,p7,AF;PVC,71,F,", "ward/ecg-2,p8,59118001|Normal,,M,")
    assert source.record_names(tmp_path) == ["ecg-1", "ward/ecg-2"]
    one, two = (source.read(tmp_path, name) for name in source.record_names(tmp_path))
    assert (one.source, one.patient, one.age, one.sex) == ("mysite", "p7", 71.0, "F")
    assert (one.leads, one.fs, one.first_label) == (("I", "II"), 250.0, "AF")
    assert (classes(one), classes(two)) == ({"AF", "PVC"}, {"RBBB", "NSR"})
    assert len(source.files(tmp_path)) == 5


def test_classes_that_were_not_looked_for_are_unknown(site, tmp_path):
    record = site("ecg-1,p7,AF,,,AF;NSR").read(tmp_path, "ecg-1")
    assert (classes(record), classes(record, 0)) == ({"AF"}, {"NSR"})


@pytest.mark.parametrize("labels", ["10370003", "39732003|10370003"])
def test_a_record_of_other_diagnoses_is_a_known_negative(site, tmp_path, labels):
    record = site(f"ecg-1,p7,{labels},,,").read(tmp_path, "ecg-1")
    assert (classes(record), classes(record, 0)) == (set(), set(RHYTHM_CLASSES))
    assert record.first_label == ""


def test_no_label_means_none_found_where_classes_were_looked_for(site, tmp_path):
    record = site("ecg-1,p7,,,,AF;PVC").read(tmp_path, "ecg-1")
    assert (classes(record), classes(record, 0)) == (set(), {"AF", "PVC"})


def test_a_code_that_leaves_a_class_open_masks_it_beside_other_codes(site, tmp_path):
    record = site("ecg-1,p7,164947007,,,IAVB;AF").read(tmp_path, "ecg-1")
    assert (classes(record, 0), "IAVB" in classes(record, -1)) == ({"AF"}, True)


def test_optional_columns_may_be_left_out(site, tmp_path):
    record = site("ecg-1,p7,AF", columns="record,patient,labels").read(tmp_path, "ecg-1")
    assert (record.age, record.sex, record.group) == (None, "", "")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("ecg-1,p7,,,,", "no-label"),
        ("ecg-1,p7,afib,,,", "no-label"),
        ("ecg-1,p7,10370004,,,", "no-label"),  # a code with a damaged digit
        ("ecg-1,p7,AF,,,10370003", "no-label"),  # not a class that could be looked for
        ("ecg-1,p7,AF,,,AF;heart", "no-label"),
        ("ecg-1,p7,AF,,,NSR", "label-conflict"),
        ("gone,p7,AF,,,", "missing-file"),
    ],
)
def test_a_record_that_cannot_be_used_has_a_verdict(site, tmp_path, line, reason):
    with pytest.raises(UnusableRecord) as refused:
        site(line).read(tmp_path, line.split(",")[0])
    assert refused.value.reason == reason


def test_a_record_may_be_named_as_its_hospital_names_files(tmp_path):
    for name in ("Rest ECG (2) + 1", "Bänder/été 7"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        edf(tmp_path / f"{name}.edf", stored(8))
    rows = "Rest ECG (2) + 1,p1,AF\nBänder/été 7.edf,p2,NSR\n"
    (tmp_path / "labels.csv").write_text(f"record,patient,labels\n{rows}", encoding="utf-8")
    source = parse_source(f"mysite={tmp_path}")
    names = source.record_names(tmp_path)
    assert names == ["Bänder/été 7", "Rest ECG (2) + 1"]
    assert [source.read(tmp_path, name).patient for name in names] == ["p2", "p1"]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["../../etc/passwd,p7,AF,,,"], "line 2: the record '.*' is not a file name inside"),
        (["/etc/passwd,p7,AF,,,"], "line 2: the record '.*' is not a file name inside"),
        (["a/../b,p7,AF,,,"], "line 2: the record '.*' is not a file name inside"),
        (["ecg-1,,AF,,,"], "line 2: record ecg-1 has no patient"),
        (["ecg-1,p7,AF,,,", "ecg-1,p8,PVC,,,"], "line 3: record ecg-1 is listed twice"),
        ([], "no records in it"),
    ],
)
def test_a_table_with_a_mistake_is_named(site, tmp_path, lines, problem):
    with pytest.raises(DataError, match=problem):
        site(*lines).record_names(tmp_path)


def test_a_table_without_a_column_or_that_is_not_text_is_named(site, tmp_path):
    with pytest.raises(DataError, match="column patient is missing"):
        site("ecg-1,AF", columns="record,labels").record_names(tmp_path)
    source = site()
    (tmp_path / "labels.csv").write_bytes(b"\xff\xfe\0\1" * 99)
    with pytest.raises(DataError, match="Save it as UTF-8 CSV"):
        source.record_names(tmp_path)
    (tmp_path / "labels.csv").unlink()
    with pytest.raises(DataError, match="Make one with the columns"):
        source.record_names(tmp_path)


@pytest.fixture
def holters(tmp_path):
    """A hospital's folder without a table: three records with beats, one without."""
    for i, (name, comments) in enumerate(
        (("h1", ["patient 7"]), ("ward/h2", ["patient 7"]), ("h3", []), ("h4", []))
    ):
        stem = tmp_path / name
        write(stem.parent, stem.name, leads=("MLII", "V1"), fs=250, comments=comments, seed=i)
        if name != "h4":
            annotate(stem, "NNVn", step=300)
    return parse_source(f"mysite={tmp_path}")


def test_a_folder_of_annotated_beats_needs_no_table(holters, tmp_path):
    assert holters.record_names(tmp_path) == ["h1", "h3", "h4", "ward/h2"]
    report = check([holters], tmp_path, task=BEAT).sources[0]
    assert (report.usable, report.patients, report.without_patient) == (3, 2, ["h3"])
    assert report.unusable == {"no-label": ["h4"]}
    assert report.beats["all"].beats == {"N": 6, "S": 3, "V": 3, "F": 0, "Q": 0}
    assert report.beats["all"].patients["all"] == 2
    assert "comment `patient 7`" in holters.card.patients


def test_a_table_gives_patient_age_sex_and_group_and_needs_no_labels(holters, tmp_path):
    lines = ("record,patient,age,sex,group", "h1,p1,71,F,cart-2", "h3,p1,71,F,cart-2", "h4,p2,,,")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    record = holters.read(tmp_path, "h1")
    assert (record.patient, record.age, record.sex, record.group) == ("p1", 71.0, "F", "cart-2")
    report = check([holters], tmp_path, task=BEAT).sources[0]
    # Beats that the table does not list join, with the patient of their header.
    assert (report.usable, report.patients, report.without_patient) == (3, 2, [])
    assert holters.read(tmp_path, "ward/h2").patient == "7"
    assert report.unusable == {"no-label": ["h4"]}


def test_a_record_with_labels_and_beats_serves_both_tasks(holters, tmp_path):
    lines = ("record,patient,labels", "h1,p1,PVC", "h3,p2,", "ward/h2,p3,AF")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "ward" / "h2.atr").write_bytes(b"damaged")
    used = {task.name: check([holters], tmp_path, task=task).sources[0] for task in (RHYTHM, BEAT)}
    assert used["rhythm"].unusable == {"no-label": ["h3"], "no-row": ["h4"]}
    assert used["beat"].unusable == {"no-annotation": ["ward/h2"], "no-row": ["h4"]}
    assert classes(holters.read(tmp_path, "h1")) == {"PVC"}


def test_a_damaged_file_of_beats_is_a_verdict_where_there_is_nothing_else(holters, tmp_path):
    (tmp_path / "h3.atr").write_bytes(b"damaged")
    with pytest.raises(UnusableRecord) as refused:
        holters.read(tmp_path, "h3")
    assert refused.value.reason == "no-annotation"


def test_a_record_without_lead_two_is_refused_with_the_leads_that_were_found(holters, tmp_path):
    for name, leads, found in (("h3", ("V1", "V5"), "V1, V5"), ("h4", ("A", "B"), "A, B")):
        write(tmp_path, name, leads=leads, fs=250)
        annotate(tmp_path / name, "NNVn", step=300)
        with pytest.raises(UnusableRecord, match=found) as refused:
            BEAT.make_examples(holters.read(tmp_path, name))
        assert refused.value.reason == "lead-names"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("mysite", "Accepted: a name"),
        ("mysite=", "Accepted: a name"),
        ("My Site={path}", "Accepted: small letters"),
        ("../x={path}", "Accepted: small letters"),
        ("mitdb={path}", "mitdb is a known data set"),
        ("pooled={path}", "the name 'pooled', which results use for something else"),
        ("local={path}", "the name 'local'"),
        ("central={path}", "the name 'central'"),
        ("unseen={path}", "the name 'unseen'"),
        ("mysite={path}/gone", "which does not exist"),
    ],
)
def test_a_source_that_cannot_be_used_is_explained(tmp_path, text, problem):
    with pytest.raises(ConfigError, match=problem):
        parse_source(text.format(path=tmp_path))


def with_comments(folder, name, *comments):
    path = folder / f"{name}.hea"
    path.write_text(path.read_text() + "".join(f"{line}\n" for line in comments))


def test_headers_with_diagnoses_need_no_table(tmp_path):
    """Records as the Challenges write them, put into a folder of one's own."""
    for seed, name in enumerate(("a", "b", "c", "d")):
        write(tmp_path, name, seed=seed)
    with_comments(tmp_path, "a", "#Age: 74", "#Sex: Male", "#Dx: 59118001,164889003")
    with_comments(tmp_path, "b", "# Age: NaN", "# Sex: Female", "# Dx: 10370003", "# patient 7")
    with_comments(tmp_path, "c", "#Age: 50")
    with_comments(tmp_path, "d", "#Dx: John Doe")
    source = parse_source(f"mysite={tmp_path}")
    assert source.card.annotates == RHYTHM_CLASSES
    assert source.record_names(tmp_path) == ["a", "b", "c", "d"]
    a, b = (source.read(tmp_path, name) for name in "ab")
    assert (classes(a), a.age, a.sex, a.patient) == ({"RBBB", "AF"}, 74.0, "M", "a")
    assert (classes(b), classes(b, 0)) == (set(), set(RHYTHM_CLASSES))
    assert (b.age, b.sex, b.patient) == (None, "F", "7")
    assert b.other_codes == ("10370003",)
    for name in "cd":
        with pytest.raises(UnusableRecord) as caught:
            source.read(tmp_path, name)
        assert caught.value.reason == "no-label"
    (report,) = check([source], tmp_path, task=RHYTHM).sources
    assert (report.records, report.usable, report.none_of_the_classes) == (4, 2, 1)


def test_a_table_goes_before_the_headers(tmp_path):
    write(tmp_path, "a")
    with_comments(tmp_path, "a", "#Dx: 59118001")
    (tmp_path / "labels.csv").write_text("record,patient,labels\na,p1,AF\n")
    record = parse_source(f"mysite={tmp_path}").read(tmp_path, "a")
    assert classes(record) == {"AF"}


def test_a_folder_without_any_label_names_the_ways_to_give_them(tmp_path):
    write(tmp_path, "a")
    with pytest.raises(DataError, match=r"labels\.csv: no such file, and no header has diagnoses"):
        parse_source(f"mysite={tmp_path}").record_names(tmp_path)


def test_ages_and_sexes_that_are_not_read_are_counted_and_not_shown(site, tmp_path):
    source = site("ecg-1,p7,AF,1933-02-01,w,", columns="record,patient,labels,age,sex,group")
    notes = source.table_notes(tmp_path)
    assert [note for note in notes if "column age that are not read: 1; accepted: years" in note]
    assert [note for note in notes if "column sex that are not read: 1; accepted: F, M" in note]
    assert "1933" not in "".join(notes)
