"""What is reported of a run with differential privacy: console, pages and card."""

from fl.runs.run_facts import PrivacyFacts


def privacy_sentences(facts: PrivacyFacts) -> list[str]:
    """The promise, how it is kept, whom it holds against, and what it does not cover."""
    what = "the dense layers, on a body that was trained before" if facts.scope == "head" else ""
    sentences = [
        f"Differential privacy: the unit is the {facts.unit}, epsilon {facts.epsilon:.3g}, delta "
        f"{facts.delta:.1g}.",
        f"Each site took {facts.steps:,} steps of DP-SGD{' over ' + what if what else ''}; in each "
        f"a patient was drawn with the chance {facts.sample_rate:g} ({facts.sampling}) and moved "
        f"the sum of gradients by at most {facts.clip:g}, to which normal noise of "
        f"{facts.noise_multiplier:.3g} times that was added.",
        "Validation was sent once, after the last round, as histograms of 16 bins with noise of "
        f"{facts.validation_noise_multiplier:.3g} times what one patient changes.",
        f"Accountant: {facts.accountant}. The promise holds against {facts.against}.",
        "Numbers of patients and records, and the figures of the test, are not covered by it.",
    ]
    if facts.trainings > 1:
        sentences.append(
            f"Each of the {facts.trainings} trainings compared here keeps this promise by itself; "
            f"whoever sees all of them has epsilon {facts.trainings * facts.epsilon:.3g} and delta "
            f"{facts.trainings * facts.delta:.1g} at most."
        )
    if facts.spent_epsilon is not None:
        budget = f" of {facts.epsilon_budget:g}" if facts.epsilon_budget else "; no budget is set"
        sentences.append(
            f"All runs together have spent epsilon {facts.spent_epsilon:.3g}{budget} and delta "
            f"{facts.spent_delta:.1g} of this hospital's patients' privacy."
        )
    return sentences
