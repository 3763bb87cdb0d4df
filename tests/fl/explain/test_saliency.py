"""A network that depends on one stretch of one lead: the explanation must lie there."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fl.datasets.synthetic import SYNTHETIC_HOLTER
from fl.ecg.beat_cuts import CUT_FS, CUT_SAMPLES, infarction_beats, whole_cut_peaks
from fl.ecg.records import LEADS
from fl.ecg.tasks import TASKS
from fl.explain.attribution import has_time_weights
from fl.explain.placing import placed
from fl.explain.saliency import METHODS, Explanation, explain, feature_sentence
from fl.models import build_network
from fl.util.errors import ConfigError

LEAD, STRETCH = LEADS.index("II"), slice(400, 460)
FEATURE = 7


class OneStretch(nn.Module):
    """The last class's logit is the energy of 0.6 s of lead II; the other logits are zero."""

    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(1, classes)
        with torch.no_grad():
            self.head.weight.zero_()
            self.head.bias.zero_()
            self.head.weight[-1] = 2.0

    def forward(self, signal, lead_mask, features):
        energy = (signal[:, LEAD, STRETCH] ** 2).mean(dim=1, keepdim=True)
        return self.head(energy)


class OneFeature(nn.Module):
    """Class V by one feature and by the R peak's height over the usual beat."""

    def forward(self, signal, lead_mask, features):
        score = 3 * features[:, FEATURE] + signal[:, 1, 20:30].sum(dim=1)
        return torch.stack([score * 0, score * 0, score, score * 0, score * 0], dim=1)


@pytest.mark.parametrize("method", ["gradients", "occlusion"])
def test_saliency_lies_where_the_answer_comes_from(few, method):
    found = explain(OneStretch(9), few, 0, "STE", method, crops=1)
    row = found.leads.index("II")
    size = np.abs(found.signal)
    # An occluded window reaches half of its 0.2 s over either edge.
    near = size[row, STRETCH.start - 20 : STRETCH.stop + 20].sum()
    assert near / size.sum() > 0.999
    assert size[row, STRETCH].sum() / size.sum() > 0.7
    assert found.signal[row, STRETCH].sum() > 0


def test_completeness_of_a_network_that_is_known(few):
    found = explain(OneStretch(9), few, 0, "STE", "gradients", crops=1)
    assert found.signal.sum() == pytest.approx(found.difference, rel=1e-3)
    assert abs(found.error) < 1e-3


def test_every_crop_that_is_read_counts(few):
    longest = int(np.argmax(few.lengths))
    found = explain(OneStretch(9), few, longest, "STE", "gradients")
    assert found.crops == 2
    assert found.signal.shape == (2, few.lengths[longest])
    assert found.signal.sum() == pytest.approx(found.difference, rel=1e-3)


def test_a_lead_that_was_not_recorded_has_no_row(few):
    assert explain(OneStretch(9), few, 0, "STE", "gradients").leads == ("II", "V1")


def test_features_are_named_and_the_largest_comes_first(beats):
    example = int(np.argmax(np.abs(beats.features[:, FEATURE])))
    found = explain(OneFeature(), beats, example, "V", "gradients")
    first = found.features[0]
    assert first.name == beats.task.features[FEATURE]
    value = float(beats.features[example, FEATURE])
    assert first.value == pytest.approx(value)
    assert np.sign(first.contribution) == np.sign(value)
    sentence = feature_sentence(first, "V")
    assert sentence.startswith(f"{first.name} is {abs(value):.1f} units")
    assert ("raises" in sentence) == (value > 0)


def test_a_beat_is_explained_against_the_patients_usual_beat(beats):
    found = explain(OneFeature(), beats, 3, "V", "gradients")
    difference = beats.batch(np.array([3]), np.array([0])).signal[0, 1]
    outside = np.r_[0:20, 30:64]
    assert np.abs(found.signal[0, outside]).max() < 1e-9
    inside = found.signal[0, 20:30]
    assert np.corrcoef(inside, difference[20:30])[0, 1] > 0.999


def test_a_network_that_reads_rows_is_explained_by_the_beats_around_too(beats):
    torch.manual_seed(0)
    network = build_network("beat_gru", beats.task)
    found = explain(network, beats, 30, "V", "gradients")
    assert found.leads == ()
    assert found.signal.size == 0
    assert found.neighbours != 0
    total = found.neighbours + sum(f.contribution for f in found.features)
    assert total == pytest.approx(found.difference - found.error, abs=1e-6)


def test_time_weights_are_those_of_the_network_and_sum_to_one(few):
    torch.manual_seed(0)
    network = build_network("reslstm_temporalse", few.task)
    assert has_time_weights(network)
    found = explain(network, few, 0, "AF", "attention", crops=1)
    assert found.signal.sum() == pytest.approx(1)
    assert np.allclose(found.signal[0], found.signal[1])
    other = explain(network, few, 0, "PVC", "attention", crops=1)
    assert np.array_equal(found.signal, other.signal)


def test_the_same_question_has_the_same_answer(few):
    torch.manual_seed(0)
    network = build_network("lstm", few.task)
    first, second = (explain(network, few, 1, "AF", "gradients") for _ in range(2))
    assert np.array_equal(first.signal, second.signal)
    assert not network.training


@pytest.mark.parametrize("method", METHODS)
def test_json_has_every_number(few, method):
    torch.manual_seed(0)
    network = build_network("reslstm_temporalse", few.task)
    found = explain(network, few, 0, "AF", method)
    content = json.loads(json.dumps(found.to_json()))
    assert content["leads"] == ["II", "V1"]
    assert np.allclose(content["signal"], found.signal, atol=1e-6)
    assert content["method"] == method


def test_a_wrong_question_is_answered_in_one_sentence(few):
    network = build_network("resnet1d", few.task)
    with pytest.raises(ConfigError, match=r"--class is 'V'\. Classes of the rhythm task: NSR, AF"):
        explain(network, few, 0, "V", "gradients")
    with pytest.raises(ConfigError, match="no time weights of its own"):
        explain(network, few, 0, "AF", "attention")


def test_cuts_are_put_where_they_were_made():
    record = synthetic()
    examples = infarction_beats(replace(record, infarction=1))
    flat = np.abs(examples.signals[0])
    found = placed(looking_like(flat, ("II",), CUT_FS), TASKS["mi"], record, 0.0, 10.0, None)
    peaks = whole_cut_peaks(record)
    first = flat[0, :CUT_SAMPLES]
    until = int(peaks[1] - peaks[0])  # where the next cut begins
    assert np.array_equal(found.signal[0, peaks[0] : peaks[1]], first[:until])
    assert found.signal[0, : peaks[0]].sum() == 0
    used = peaks[peaks < 10 * CUT_FS]
    assert found.signal.sum() == pytest.approx(flat[0, : len(used) * CUT_SAMPLES].sum())


def test_a_beat_begins_where_its_task_cuts_it():
    record = synthetic()
    some = looking_like(np.ones((1, 64)), ("II",), 90.0)
    begins = {
        n: placed(some, TASKS[n], record, 4.9, 5.3, 5.0) for n in ("beat", "beat-plain", "beat7")
    }
    assert begins["beat"].begins == pytest.approx(5.0 - 48 / 180)
    assert begins["beat-plain"].begins == 5.0
    assert begins["beat7"].begins == 4.9
    assert begins["beat7"].fs == pytest.approx(63 / 0.4)
    without = replace(record, leads=("V5", "V1"))
    assert placed(some, TASKS["beat7"], without, 4.9, 5.3, 5.0).leads == ("V5",)


def synthetic():
    return SYNTHETIC_HOLTER.read(Path("nowhere"), "S00001")


def looking_like(signal, leads, fs):
    """An explanation with these contributions."""
    return Explanation(
        method="gradients",
        target="V",
        leads=leads,
        fs=fs,
        signal=signal,
        features=(),
        neighbours=0.0,
        difference=1.0,
        error=0.0,
        crops=1,
    )
