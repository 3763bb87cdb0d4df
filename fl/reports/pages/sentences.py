"""Sentences that follow from a run's numbers, and the numbers as pages print them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fl.evaluation.strategy_comparison import ComparisonRow
from fl.reports.number_format import estimate, number
from fl.reports.pages.site_view import SiteView
from fl.reports.run_files import Run

NAMES = {"macro_f1": "macro-F1", "macro_auroc": "macro-AUROC"}
FEW_PATIENTS = 30  # behind an interval; fewer are called few
SHARE_WANTED = 0.93  # of pooled training's macro-F1: what the project expects of a federation


@dataclass(frozen=True)
class Advice:
    """A recommendation: its headline, and the sentences it rests on."""

    headline: str
    because: tuple[str, ...]


def signed(value: float | None) -> str:
    """`+.080`, `-.012`, n/a."""
    if value is None:
        return "n/a"
    text = number(abs(value))
    return text if text == ".000" else f"{'+' if value > 0 else '-'}{text}"


def interval(row: ComparisonRow) -> str:
    """`+.080 [+.030, +.130]`"""
    if row.value is None:
        return "n/a"
    if row.low is None or row.high is None:
        return signed(row.value)
    return f"{signed(row.value)} [{signed(row.low)}, {signed(row.high)}]"


def percent(value: float | None) -> str:
    """`96%`"""
    return "n/a" if value is None else f"{100 * value:.0f}%"


def verdict(row: ComparisonRow | None) -> str:
    """`gain` or `loss` if the whole interval says so, `none` if it holds zero, else `unknown`."""
    if row is None or row.value is None or row.low is None or row.high is None:
        return "unknown"
    # A percentile interval may, with few patients, lie on the other side than the value itself.
    if row.low > 0 and row.value > 0:
        return "gain"
    return "loss" if row.high < 0 and row.value < 0 else "none"


VERDICTS = {
    "gain": "evidence of a gain",
    "loss": "evidence of a loss",
    "none": "no evidence of a difference",
    "unknown": "cannot be said: too few patients",
}


def find(rows: Iterable[ComparisonRow], **wanted: str) -> ComparisonRow | None:
    """The first difference with these entries."""
    return next((r for r in rows if all(getattr(r, k) == v for k, v in wanted.items())), None)


def unit_of(task: str) -> str:
    """What one example is called."""
    return "beats" if task.startswith("beat") else "records"


def question(run: Run) -> str:
    """What the run was made to find out."""
    if run.comparison:
        return (
            "What does a hospital gain by joining the federation over training alone, and how far "
            "is the federation from pooling all recordings in one place?"
        )
    return (
        "How well does one model, trained over hospitals that keep their recordings, do at each "
        "of them and on patients that none of them holds?"
    )


def answer(run: Run) -> list[str]:
    """The run's answer, each sentence from its own numbers."""
    found = []
    if run.comparison:
        others = [name for name in run.federated if name != run.main]
        found += [s for name in (run.main, *others) for s in against(run, name)]
        found.append(_level(run, run.main))
        found.append(
            "Intervals are 95% by paired bootstrap over patients, each by itself: of twenty "
            "comparisons without any difference, one is expected to look like one."
        )
    else:
        found.append(_level(run, run.main))
        found.append(
            "Nothing was compared in this run: whether a hospital gains over training alone, and "
            "what pooling would add, is answered by a run with --compare."
        )
    return found


def _level(run: Run, name: str) -> str:
    """How good the strategy's model is, in absolute terms."""
    result = run.strategies[name]
    parts = []
    groups = ((result.central, "central patients"), (result.unseen, "the unseen source"))
    for group, where in groups:
        if group:
            parts.append(f"{estimate(group.macro_f1)} on {where}")
    mean, worst = result.site_mean, result.worst_site
    if mean:
        parts.append(f"{number(mean.macro_f1)} as the mean over the hospitals")
    if worst:
        parts.append(f"{number(worst.macro_f1)} at the worst of them ({worst.site})")
    told = ", ".join(parts) or "cannot be measured: no group has a class with both answers"
    return f"Macro-F1 of {name} on test records: {told}."


def against(run: Run, name: str) -> list[str]:
    """What a federated strategy gains over training alone and loses to pooling."""
    sentences = []
    for other, what in (("local", "training alone"), ("pooled", "pooling everything")):
        if other not in run.strategies:
            continue
        rows = run.differences
        mean = find(rows, strategy=name, against=other, where="mean_site", metric="macro_f1")
        sentence = f"{name} against {what}, macro-F1 over the hospitals: "
        sentence += f"{interval(mean)}, {VERDICTS[verdict(mean)]}" if mean else "not measured"
        sentences.append(f"{sentence}{_share(run, name) if other == 'pooled' else ''}.")
        if other == "local":
            sentences.append(_by_hospital(run, rows, name))
    return sentences


def _share(run: Run, name: str) -> str:
    """How much of pooled training's macro-F1 is reached."""
    reached = share_of_pooled(run, name)
    if reached is None:
        return ""
    met = "at least" if reached >= SHARE_WANTED else "less than"
    return f"; it reaches {percent(reached)} of pooled, {met} the {percent(SHARE_WANTED)} expected"


def share_of_pooled(run: Run, name: str) -> float | None:
    """The strategy's mean macro-F1 over the sites, as a share of pooled training's."""
    own, pooled = (run.strategies[n].site_mean for n in (name, "pooled"))
    return own.macro_f1 / pooled.macro_f1 if own and pooled and pooled.macro_f1 else None


def _by_hospital(run: Run, rows: Sequence[ComparisonRow], name: str) -> str:
    """At how many hospitals it is better, and at how many the interval says so."""
    own = [
        find(rows, strategy=name, against="local", where=f"site:{site}", metric="macro_f1")
        for site in run.sites
    ]
    known = [row for row in own if row and row.value is not None]
    above = sum(row.value is not None and row.value > 0 for row in known)
    told = [verdict(row) for row in known]
    return (
        f"{name} is above training alone at {above} of {len(run.sites)} hospitals; the interval "
        f"says so at {told.count('gain')}, says the opposite at {told.count('loss')}, and leaves "
        f"it open at the others."
    )


def advice(view: SiteView) -> Advice:
    """Should this hospital join? As far as the intervals of its own test patients say."""
    if not view.compared:
        return Advice(
            "No recommendation: this run compared nothing",
            (
                "Training alone and pooling were not run (--compare was not given), so nothing "
                "can be said about what this hospital gains.",
            ),
        )
    rows = [row for row in view.differences if row.strategy == view.main]
    f1 = find(rows, against="local", metric="macro_f1")
    auroc = find(rows, against="local", metric="macro_auroc")
    because = [_because(view, row) for row in (f1, auroc) if row]
    pooled = find(rows, against="pooled", metric="macro_f1")
    if pooled:
        because.append(_pooled(view, pooled))
    few = min((row.n_patients for row in rows if row.n_patients), default=None)
    if few is not None and few < FEW_PATIENTS:
        because.append(
            f"Only {few} test patients of this hospital stand behind these figures: more of "
            "them would narrow what can be said."
        )
    return Advice(HEADLINES[verdict(f1), verdict(auroc)], tuple(because))


_JOIN = "Join: there is evidence of a gain"
_STAY = "Do not join on these results: there is evidence of a loss"
_MIXED = "The evidence is mixed: decisions and ranking point in opposite directions"
_RANKS = "There is evidence of better ranking (AUROC), none of better decisions (F1)"
_WORSE = "There is evidence of worse ranking (AUROC), none of worse decisions (F1)"
_NONE = "There is no evidence of a gain, and none of a loss"
_UNKNOWN = "Nothing can be said: this hospital's test patients are too few for an interval"
HEADLINES = {
    ("gain", "gain"): _JOIN,
    ("gain", "none"): _JOIN,
    ("gain", "unknown"): _JOIN,
    ("gain", "loss"): _MIXED,
    ("loss", "gain"): _MIXED,
    ("loss", "none"): _STAY,
    ("loss", "loss"): _STAY,
    ("loss", "unknown"): _STAY,
    ("none", "gain"): _RANKS,
    ("none", "loss"): _WORSE,
    ("none", "none"): _NONE,
    ("none", "unknown"): _NONE,
    ("unknown", "gain"): _RANKS,
    ("unknown", "loss"): _WORSE,
    ("unknown", "none"): _NONE,
    ("unknown", "unknown"): _UNKNOWN,
}


def _because(view: SiteView, row: ComparisonRow) -> str:
    return (
        f"{view.main} against this hospital's own model, {NAMES[row.metric]}: {interval(row)}, "
        f"{VERDICTS[verdict(row)]}."
    )


def _pooled(view: SiteView, row: ComparisonRow) -> str:
    """What would be gained beyond the federation."""
    end = {
        "gain": f"{view.main} is better here than pooling all recordings in one place",
        "loss": "pooling all recordings in one place would give this hospital more",
        "none": "there is no evidence that pooling all recordings in one place would give more",
        "unknown": "whether pooling would give more cannot be said",
    }[verdict(row)]
    return f"{view.main} against pooling, {NAMES[row.metric]}: {interval(row)}; {end}."


def table_of(rows: Sequence[ComparisonRow]) -> list[dict[str, Any]]:
    """Differences with their texts, for a table."""
    return [
        row.to_json()
        | {"text": interval(row), "verdict": VERDICTS[verdict(row)], "kind": verdict(row)}
        | {"name": NAMES.get(row.metric, row.metric), "place": place(row.where)}
        for row in rows
    ]


def place(where: str) -> str:
    """Where a figure was measured, in words."""
    known = {
        "mean_site": "mean over hospitals",
        "worst_site": "worst hospital",
        "spread": "spread over hospitals (sd)",
    }
    return known.get(where, where.removeprefix("site:"))
