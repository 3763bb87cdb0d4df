"""attack.json for readers: its content checked, and what must be known to read its figures."""

from dataclasses import dataclass
from pathlib import Path

from fl.privacy.attacks.attack_report import ATTACK, EVERY, FINAL, TARGETS, AttackReport, Inversion
from fl.runs.bounded_files import read_json


def read_attack(folder: Path) -> AttackReport | None:
    """attack.json of a run directory; None if the run was not attacked.

    `DataError` if it is not as `heartfed runs attack` writes it.
    """
    path = folder / ATTACK
    if not path.exists():
        return None
    return AttackReport.from_json(
        read_json(path), str(path), f"Measure it again: heartfed runs attack {folder}"
    )


@dataclass(frozen=True, kw_only=True)
class AttackSection:
    """What index.html shows of attack.json."""

    report: AttackReport
    targets: tuple[tuple[str, str], ...]  # each thing that was attacked, and what it is
    places: tuple[tuple[str, str], ...]
    how_to_read: tuple[str, ...]
    inversion: tuple[str, ...]


def attack_section(folder: Path) -> AttackSection | None:
    """The section of a run's page; None if the run was not attacked. `DataError` as above."""
    report = read_attack(folder)
    if report is None:
        return None
    found = {row.target for row in report.rows}
    return AttackSection(
        report=report,
        targets=tuple((name, text) for name, text in TARGETS.items() if name in found),
        places=tuple(places(report)),
        how_to_read=tuple(how_to_read(report)),
        inversion=tuple(inversion_sentences(report.inversion)) if report.inversion else (),
    )


def places(report: AttackReport) -> list[tuple[str, str]]:
    """The places whose rows are shown first, each with its heading.

    All hospitals, the smallest, and the smallest that has enough patients for an interval.
    """
    found = [
        (EVERY, "all hospitals"),
        (report.smallest, f"{report.smallest}, which has the fewest training patients"),
    ]
    measured = {
        row.site: row.success.members
        for row in report.rows
        if row.site != EVERY and row.target == FINAL and row.success.auc.low is not None
    }
    if measured and report.smallest not in measured:
        site = min(measured, key=lambda name: (measured[name], name))
        found.append((site, f"{site}, the smallest with enough patients for intervals"))
    return found


def how_to_read(report: AttackReport) -> list[str]:
    """What must be known to read the figures."""
    return [*hidden(report), *counting(report), *shadow_sentences(report)]


def hidden(report: AttackReport) -> list[str]:
    """What nobody saw in fact."""
    if not report.secure:
        return []
    return [
        "The run used secure aggregation: its coordinator saw the sum of updates alone. The rows "
        "of one hospital's update show what it hid."
    ]


def counting(report: AttackReport) -> list[str]:
    """Who is counted, and what the columns are."""
    return [
        "Training patients (members) against validation and test patients (others), who trained "
        "nothing; only patients of the same hospital and source are compared. A patient counts "
        f"once, with the mean over at most {report.per_patient} examples. AUC: how often a member "
        "scores above a non-member; .5 is chance. Of many rows some leave out .5 by chance.",
        "TPR: share of members found where at most 1% of non-members are taken for members (with "
        "fewer than 100 of them, none). [low, high] is 95%: AUC by bootstrap over patients, rates "
        "by Clopper and Pearson; none from fewer than ten patients on a side, where a figure says "
        "next to nothing.",
        "epsilon: with 95% confidence no training with a smaller one "
        f"(delta {report.delta:g}) allows this attack; 0 shows nothing, and so many patients could "
        "show no more than the limit beside it.",
    ]


def shadow_sentences(report: AttackReport) -> list[str]:
    """The shadow models that were trained, if any."""
    if report.shadows is None:
        return []
    used = report.shadows
    return [
        f"LiRA: {used.models} shadow models for each target, each trained in one place on half of "
        f"the patients (members and others): {used.network}, {_epochs(used.epochs)} from "
        f"random weights for the final model; the run's network, {_epochs(used.round_epochs)} from "
        "the weights before the round for updates. More shadow models make a stronger attack."
    ]


def _epochs(number: int) -> str:
    return f"{number} epoch{'s' if number != 1 else ''}"


def inversion_sentences(found: Inversion) -> list[str]:
    """What was computed back from gradients, and why it is the worst case."""
    return [
        f"The worst case: {found.network} ({found.weights:,} weights) at random weights, one plain "
        "gradient step over one recording of one training patient of the smallest hospital, "
        "without dropout and augmentation; the attacker knows labels, leads and features. The "
        f"signal is searched in {found.steps} steps so that its gradient has the direction of the "
        f"one seen (cosine {found.cosine:.2f}, the median of {found.recordings} recordings). A "
        "site's update is many steps over many patients. That a search finds little proves "
        "nothing: another one, or a network that takes no means over time, may show more."
    ]
