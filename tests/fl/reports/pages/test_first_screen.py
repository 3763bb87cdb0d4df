"""The three sentences and the figure that a page begins with."""

import pytest
from support import made_runs

from fl.evaluation.seed_summary import SeedSummary
from fl.evaluation.strategy_comparison import ComparisonRow
from fl.reports.figures.gain_chart import gain_chart
from fl.reports.pages.first_answer import first_answer, seeds_answer
from fl.reports.pages.sentences import corrected
from fl.reports.run_files import read_run
from fl.runs.results import read_seeds

ORDER = ("local", "pooled", "fedavg")


def row(where, low, high, n=40, against="local"):
    return ComparisonRow(
        strategy="fedavg",
        against=against,
        where=where,
        metric="macro_f1",
        value=0.05,
        low=low,
        high=high,
        n_patients=n,
        sentence="",
    )


def test_the_sentences_state_the_intervals_of_the_run(written):
    gain, distance, unseen = first_answer(read_run(written("compared")))
    assert gain == (
        "On average a hospital gains over training alone: the mean macro-F1 of FedAvg over the "
        "hospitals differs by +.081 [+.031, +.131]; it is higher at 2 of the 3 hospitals that can "
        "be measured, with evidence of a gain at one and of a loss at one."
    )
    assert distance.startswith("The federation does better than pooled training")
    assert "no source was held out" in unseen


def test_an_interval_across_zero_is_not_called_a_gain(copy):
    folder = copy("rhythm")
    made_runs.compare(folder)

    def widen(summary):
        for found in summary["comparison"]["differences"]:
            found |= {"value": 0.04, "low": -0.1, "high": 0.2}

    made_runs.change(folder / "summary.json", widen)
    gain, distance, _ = first_answer(read_run(folder))
    assert gain.startswith("It is not shown that a hospital gains")
    assert "higher at 3 of the 3 hospitals that can be measured" in gain
    assert gain.endswith("with evidence of a difference at none.")
    assert distance.startswith("No difference from pooled training")


def test_without_a_comparison_the_sentences_say_what_is_not_known(written):
    gain, distance, _ = first_answer(read_run(written("rhythm")))
    assert gain.startswith("This run compares nothing")
    assert "not known" in distance


def test_the_unseen_source_is_counted_in_patients(written):
    run = read_run(written("holdout"))
    sentence = first_answer(run)[2]
    measures = run.strategies["fedavg"].unseen
    assert sentence.startswith("On synthetic-2lead, where nobody trained")
    assert f"{measures.n_records} records of {measures.n_patients} patients" in sentence


def test_fewer_than_ten_patients_have_a_hollow_mark_and_no_interval():
    rows = [row("mean_site", 0.0, 0.1), row("site:a", 0.0, 0.1), row("site:b", 0.0, 0.1, n=9)]
    assert gain_chart(rows, "fedavg", ORDER).svg.count("n=9") == 1
    many = gain_chart([*rows[:2], row("site:b", 0.0, 0.1, n=10)], "fedavg", ORDER)
    assert "n=10" not in many.svg
    assert gain_chart([], "fedavg", ORDER) is None


@pytest.mark.parametrize(
    ("p", "value", "wanted"),
    [(0.01, 0.05, "gain"), (0.01, -0.05, "loss"), (0.2, 0.05, "none"), (None, 0.05, "unknown")],
)
def test_the_corrected_evidence_goes_by_its_p_value(p, value, wanted):
    near, far = 0.2 * value, 2 * value
    given = {"value": value, "low": min(near, far), "high": max(near, far), "p_adjusted": p}
    assert corrected(row("site:a", 0.0, 0.1).model_copy(update={**given, "p_value": p})) == wanted


def test_the_seeds_answer_with_their_mean_and_range(written, tmp_path):
    made_runs.repeat(tmp_path, written("compared"))
    gain, distance, unseen = seeds_answer(read_seeds(tmp_path), "fedavg", "ptbxl")
    assert "+.032 (mean of 2 seeds, +.021 to +.043); all 2 seeds agree" in gain
    assert "not known" in distance
    assert "On ptbxl, where nobody trained, FedAvg reaches macro-F1 .412 (.401 to .423)" in unseen


def test_seeds_of_both_signs_are_no_gain(written, tmp_path):
    made_runs.repeat(tmp_path, written("compared"))
    content = read_seeds(tmp_path).to_json()
    content["differences"][0] |= {"values": [-0.01, 0.07], "low_seed": -0.01, "high_seed": 0.07}
    gain = seeds_answer(SeedSummary.from_json(content, "seeds"), "fedavg", "")[0]
    assert gain.startswith("It is not shown that a hospital gains")
    assert "the seeds do not agree" in gain


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([-0.008, -0.005], "No difference from pooled training"),
        ([-0.08, -0.06], "The federation does worse than pooled training"),
        ([-0.08, -0.01], "The federation does worse than pooled training"),
    ],
)
def test_seeds_within_the_margin_of_pooled_training_are_not_worse(written, tmp_path, values, words):
    made_runs.repeat(tmp_path, written("compared"))
    content = read_seeds(tmp_path).to_json()
    changed = {"against": "pooled", "values": values, "mean": sum(values) / 2}
    content["differences"] = [
        content["differences"][0] | changed | {"low_seed": min(values), "high_seed": max(values)}
    ]
    distance = seeds_answer(SeedSummary.from_json(content, "seeds"), "fedavg", "")[1]
    assert distance.startswith(words)
    assert ("within the margin of .050" in distance) == (words[0] == "N")
