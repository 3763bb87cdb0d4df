"""What is written of a private run: the promise, and what several trainings spend together."""

import pytest

from fl.config.config_file import load_config
from fl.privacy.differential_privacy.guarantee import guarantee_of
from fl.reports.privacy_text import privacy_sentences
from fl.runs.run_facts import PrivacyFacts

SETTINGS = {"dp": "patient", "epsilon": "2", "noise_multiplier": "1.5"}


def sentences(**changed):
    promised = guarantee_of(load_config(SETTINGS | changed))
    return privacy_sentences(PrivacyFacts.from_json(promised.to_json(), "test"))


def test_one_training_spends_what_it_promises():
    found = sentences()
    assert found[0] == "Differential privacy: the unit is the patient, epsilon 2, delta 1e-05."
    assert not any("trainings compared" in sentence for sentence in found)


@pytest.mark.parametrize(
    ("compare", "total"), [("fedavg,fedprox", 4), ("fedavg,fedprox,fedavgm", 6)]
)
def test_several_trainings_spend_the_sum(compare, total):
    (line,) = [s for s in sentences(compare=compare) if "trainings compared" in s]
    assert f"whoever sees all of them has epsilon {total} and delta" in line
