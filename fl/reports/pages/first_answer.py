"""The three sentences of a page's first screen, each computed from the run.

What does a hospital gain over training alone? How far is the federation from pooled training?
How well does the model do at a hospital that nobody trained on?
"""

from fl.evaluation.group_evaluation import GroupMeasures
from fl.evaluation.margins import COMPARATOR, MARGINS
from fl.evaluation.paired_bootstrap import METRICS
from fl.evaluation.seed_summary import SeedDifference, SeedSummary, Spread
from fl.evaluation.strategy_comparison import ComparisonRow
from fl.evaluation.strategy_names import strategy_name
from fl.reports.number_format import estimate, number
from fl.reports.pages.sentences import (
    corrected,
    find,
    in_words,
    interval,
    signed,
    sites_compared,
    verdict,
)
from fl.reports.run_files import UNSEEN, Run
from fl.reports.units import counted, units_at

NO_LOCAL = (
    "This run compares nothing: what a hospital gains over training alone is known of a run with "
    "--compare."
)
NO_POOLED = "How far the model is from pooled training is not known, for the same reason."
NO_HOLDOUT = (
    "How the model does at a hospital that nobody trained on is not known: no source was held out "
    "(--holdout)"
)
GAIN = {
    "gain": "On average a hospital gains over training alone",
    "loss": "On average a hospital loses against training alone",
    "none": "It is not shown that a hospital gains over training alone",
    "unknown": "Whether a hospital gains over training alone cannot be said",
}
DISTANCE = {
    "gain": "The federation does better than pooled training, with all records in one place",
    "loss": "The federation does worse than pooled training, with all records in one place",
    "none": "No difference from pooled training, with all records in one place, is shown",
    "unknown": "How far the federation is from pooled training cannot be said",
}


def first_answer(run: Run) -> list[str]:
    """The three sentences."""
    return [gain(run), distance(run), unseen(run)]


def gain(run: Run) -> str:
    """What a hospital gains over training alone."""
    mean = mean_row(run, "local")
    if mean is None:
        return NO_LOCAL
    return f"{GAIN[verdict(mean)]}: {_difference(run, mean)}; {_hospitals(run)}."


def distance(run: Run) -> str:
    """How far the federation is from pooled training."""
    mean = mean_row(run, "pooled")
    if mean is None:
        return NO_POOLED
    return f"{DISTANCE[verdict(mean)]}: {_difference(run, mean)}{margin(mean)}."


def mean_row(run: Run, against: str) -> ComparisonRow | None:
    """The main strategy's difference over the hospitals."""
    return find(
        run.differences, strategy=run.main, against=against, where="mean_site", metric="macro_f1"
    )


def _difference(run: Run, row: ComparisonRow) -> str:
    strategy = strategy_name(run.main)
    return f"the mean macro-F1 of {strategy} over the hospitals differs by {interval(row)}"


def _hospitals(run: Run) -> str:
    """At how many hospitals it is better, and at how many there is evidence."""
    rows = sites_compared(run, run.main, "local")
    higher = sum(row.value is not None and row.value > 0 for row in rows)
    verdicts = [verdict(row) for row in rows]
    text = f"it is higher at {higher} of the {len(rows)} hospitals that can be measured"
    gains, losses = verdicts.count("gain"), verdicts.count("loss")
    if gains + losses == 0:
        return f"{text}, with evidence of a difference at none"
    evidence = f"of a gain at {in_words(gains)} and of a loss at {in_words(losses)}"
    return f"{text}, with evidence {evidence}{_corrected(rows)}"


def _corrected(rows: list[ComparisonRow]) -> str:
    """How much of the evidence is left after the correction for many comparisons."""
    found = [corrected(row) for row in rows]
    if set(found) <= {"unknown"}:
        return ""
    left = in_words(found.count("gain")), in_words(found.count("loss"))
    return f" (corrected for many comparisons: {left[0]} and {left[1]})"


def margin(row: ComparisonRow) -> str:
    """Whether it is non-inferior, where a margin was written before the run."""
    if row.non_inferior is None:
        return ""
    shown = "is" if row.non_inferior else "is not"
    limit = number(MARGINS[row.metric])
    return f"; non-inferiority at the margin of {limit}, written before the run, {shown} shown"


def unseen(run: Run) -> str:
    """How well the model does at a hospital that nobody trained on."""
    found = run.strategies[run.main].unseen
    if found is None:
        return f"{NO_HOLDOUT}{_central(run)}."
    unit = units_at(run.task, run.facts.data, run.facts.sites)(UNSEEN)
    where = f"On {run.config.get('holdout') or 'the held-out source'}, where nobody trained"
    who = counted(found.n_records, unit, found.n_patients)
    text = f"{where} ({who}), {strategy_name(run.main)} reaches {_reached(run, found)}"
    pooled = run.strategies.get("pooled")
    if pooled and pooled.unseen:
        text += f"; pooled training reaches macro-F1 {estimate(pooled.unseen.macro_f1)}"
    return f"{text}."


def _central(run: Run) -> str:
    central = run.strategies[run.main].central
    if central is None or central.macro_f1.value is None:
        return ""
    return f"; on central patients of the same sources it reaches {_reached(run, central)}"


def _reached(run: Run, found: GroupMeasures) -> str:
    return (
        f"macro-F1 {estimate(found.macro_f1)} and macro-AUROC {estimate(found.macro_auroc)} over "
        f"{len(found.macro_classes)} of {len(run.classes)} classes"
    )


def seeds_answer(seeds: SeedSummary, main: str, holdout: str) -> list[str]:
    """The same three sentences of a run over several seeds: means, lowest and highest seed."""
    by = {row.against: row for row in seeds.differences if _is_headline(row, main)}
    return [
        _over_seeds(by["local"], GAIN, main) if "local" in by else NO_LOCAL,
        _over_seeds(by["pooled"], DISTANCE, main) if "pooled" in by else NO_POOLED,
        _unseen_over_seeds(seeds, main, holdout),
    ]


def _is_headline(row: SeedDifference, main: str) -> bool:
    return (row.strategy, row.where, row.metric) == (main, "mean_site", "macro_f1")


def _over_seeds(row: SeedDifference, leads: dict[str, str], main: str) -> str:
    known = [value for value in row.values if value is not None]
    if row.mean is None:
        return f"{leads['unknown']}: no seed could measure it."
    signs = {value > 0 for value in known}
    margin = MARGINS["macro_f1"]
    if row.against == COMPARATOR and max(map(abs, known)) < margin:
        # There are no intervals over seeds: a difference within the margin is no better or worse.
        agreed, seeds = "none", f"all {len(known)} seeds are within the margin of {number(margin)}"
    elif len(signs) > 1 or 0 in known:
        agreed, seeds = "none", "the seeds do not agree"
    else:
        agreed = "gain" if row.mean > 0 else "loss"
        seeds = f"all {len(known)} seeds agree"
    return (
        f"{leads[agreed]}: the mean macro-F1 of {strategy_name(main)} over the hospitals differs "
        f"by {signed(row.mean)} (mean of {len(known)} seeds, {signed(row.low_seed)} to "
        f"{signed(row.high_seed)}); {seeds}."
    )


def _unseen_over_seeds(seeds: SeedSummary, main: str, holdout: str) -> str:
    found = seeds.strategies[main].get("unseen", {})
    if not found or found["macro_f1"].mean is None:
        return NO_HOLDOUT + "."
    text = f"On {holdout or 'the held-out source'}, where nobody trained, {strategy_name(main)}"
    parts = [f"{METRICS[m]} {_range(spread)}" for m, spread in found.items() if m in METRICS]
    text += f" reaches {' and '.join(parts)}"
    pooled = seeds.strategies.get("pooled", {}).get("unseen", {}).get("macro_f1")
    if pooled and pooled.mean is not None:
        text += f"; pooled training reaches macro-F1 {_range(pooled)}"
    return f"{text}."


def _range(found: Spread) -> str:
    return f"{number(found.mean)} ({number(found.low_seed)} to {number(found.high_seed)})"
