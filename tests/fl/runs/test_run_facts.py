"""run.json of a completed run is read; of any other run the error says what to do."""

import json

import pytest

from fl.runs.run_facts import read_run_facts
from fl.util.errors import DataError

SOURCE = {
    "source": "mitdb",
    "sha256": "0",
    "cache": "/cache/mitdb",
    "examples": 9,
    "recordings": 3,
    "patients": 2,
    "excluded": {"too-short": ["100"]},
}
RUN = {
    "status": "completed",
    "config": {"task": "rhythm"},
    "data": [SOURCE],
    "sites": [{"site": "site-1"}],
    "failures": [{"round": 1, "site": "site-1", "reason": "train: lost", "strategy": "fedavg"}],
    "machine": {"cores": 2},
}


def written(folder, content):
    (folder / "run.json").write_text(json.dumps(content))
    return folder


def test_the_facts_of_a_run_are_read(tmp_path):
    facts = read_run_facts(written(tmp_path, RUN))
    assert facts.data[0].excluded == {"too-short": ["100"]}
    assert facts.failures[0].reason == "train: lost"
    assert (facts.seed, facts.non_iid, facts.resumed) == (None, None, ())


def test_a_coordinator_may_hold_no_recording(tmp_path):
    facts = read_run_facts(written(tmp_path, RUN | {"data": [], "engine": "deployment"}))
    assert facts.data == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"status": "failed"}, "the run is failed, not completed. Go on with it"),
        ({"data": []}, "data is empty. Run it again"),
        ({"sites": []}, "sites is empty"),
        ({"config": None}, "config is None"),
        ({"data": [{"source": "mitdb"}]}, "data.0.sha256 is missing"),
    ],
)
def test_a_run_that_tells_too_little_is_refused(tmp_path, change, words):
    with pytest.raises(DataError, match=words):
        read_run_facts(written(tmp_path, RUN | change))
