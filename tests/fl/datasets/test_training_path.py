"""Training uses and leaves out exactly the records that `check` reports."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.small_records import challenge, holter, incart, ptbxl, svdb, waves

from fl.data.cohort import Cohort
from fl.data.example_cache import prepare, prepare_all
from fl.datasets import DATASETS
from fl.datasets.cpsc2018 import CPSC2018
from fl.datasets.data_report import check
from fl.datasets.synthetic import SYNTHETIC
from fl.ecg.records import LEADS
from fl.ecg.tasks import BEAT, RHYTHM, TASKS
from fl.reports.terminal.partition_tables import left_out
from fl.runs.run_record import shard_facts

FULL_SIZE = 6877  # records in CPSC2018
MEAN_SECONDS = 16.1  # of the 1,479 recordings that are available


@pytest.fixture
def root(tmp_path):
    """A data folder: good and bad records, copies with and without a label, a paced Holter."""
    flat = waves(12, 4000, seed=2)
    flat[:, 3] = 0
    folder = tmp_path / "cpsc2018"
    challenge(folder, "A0001", signal=waves(12, 4000, seed=1))
    challenge(folder, "A0002", signal=flat)
    challenge(folder, "A0003", seed=3).with_suffix(".mat").unlink()
    challenge(folder, "A0004", signal=waves(12, 4000, seed=1))
    challenge(tmp_path / "georgia", "E00001", dx="", signal=waves(12, 4000, seed=4))
    challenge(tmp_path / "georgia", "E00002", signal=waves(12, 4000, seed=4))
    challenge(tmp_path / "georgia", "E00003", signal=waves(12, 4000, seed=1))
    holter(tmp_path / "mitdb", "101", symbols="+" + "N" * 24, seconds=24)
    holter(tmp_path / "mitdb", "102", symbols="+" + "/" * 24, seconds=24, seed=1)
    svdb(tmp_path, "800", "NNSV")
    svdb(tmp_path, "801", "N/NV")
    incart(tmp_path, "I01", "NNnV")
    incart(tmp_path, "I02").with_suffix(".atr").unlink()
    ptbxl(tmp_path, codes="{}")
    ptbxl(tmp_path, 2)
    ptbxl(tmp_path, 3, codes="{'LVH': 0.0}")
    return tmp_path


def trained_on(root, names, task):
    paths = prepare_all({name: DATASETS[name] for name in names}, root, task, root / "cache")
    cohort, copies = Cohort.open(task, list(paths.values())).without_duplicates()
    return [shard_facts(shard, copies) for shard in cohort.shards]


@pytest.mark.parametrize(
    ("task", "names"),
    [("rhythm", ("cpsc2018", "georgia", "mitdb", "ptbxl")), ("beat", ("mitdb", "svdb", "incart"))],
)
def test_training_leaves_out_what_check_reports(root, task, names):
    report = check([DATASETS[name] for name in names], root, task=TASKS[task]).sources
    facts = trained_on(root, names, TASKS[task])
    assert {f["source"]: f["excluded"] for f in facts} == {s.name: s.unusable for s in report}
    assert {f["source"]: f["recordings"] for f in facts} == {s.name: s.usable for s in report}


def test_known_negatives_are_used_and_counted_like_check_counts_them(root):
    report = check([DATASETS["ptbxl"]], root, task=RHYTHM).sources[0]
    (facts,) = trained_on(root, ["ptbxl"], RHYTHM)
    assert facts["recordings"] == 2
    assert facts["none_of_the_classes"] == report.none_of_the_classes == 1


def test_a_labelled_copy_of_a_record_without_a_label_is_used(root):
    report = check([DATASETS["georgia"]], root).sources[0]
    assert report.duplicates == {"E00002": "georgia/E00001"}
    assert (report.usable, report.unusable) == (2, {"no-label": ["E00001"]})


def test_records_that_were_left_out_are_reported_in_one_line(root):
    line = left_out(trained_on(root, ("cpsc2018", "georgia", "ptbxl"), RHYTHM))
    assert line == (
        "Records: 5 used; left out: cpsc2018 1 duplicate, 1 missing-file; "
        "georgia 1 duplicate, 1 no-label; ptbxl 1 no-label (run.json names each)."
    )
    complete = [{"source": "mysite", "recordings": 3, "excluded": {}}]
    assert left_out(complete) == "Records: 3 used, none left out."


def test_a_flat_lead_is_masked_and_the_others_are_used(root):
    cohort = Cohort.open(RHYTHM, [prepare(CPSC2018, root, RHYTHM, root / "cache")])
    row = cohort.names.tolist().index("A0002")
    batch = cohort.batch(np.array([row]), np.array([0]))
    flat = LEADS.index("aVR")
    assert [i for i in range(12) if not batch.lead_mask[0, i]] == [flat]
    assert not batch.signal[0, flat].any()
    assert all(batch.signal[0, i].std() > 0.1 for i in range(12) if i != flat)


def test_a_cohort_of_full_size_takes_less_than_a_gibibyte(tmp_path):
    few = replace(SYNTHETIC, n_records=12)
    path = prepare(few, Path(), RHYTHM, tmp_path)
    cohort = Cohort.open(RHYTHM, [path])
    seconds = cohort.lengths.sum() / RHYTHM.fs
    # Leads that a device lost are not stored; count them as if they were.
    share = cohort.column("lead_mask").mean()
    size = sum(file.stat().st_size for file in path.iterdir())
    assert size / seconds / share * MEAN_SECONDS * FULL_SIZE < 2**30


def test_the_beat_task_cannot_use_paced_records(root):
    report = check([DATASETS["mitdb"]], root, task=BEAT).sources[0]
    assert report.unusable == {"paced": ["102"]}
