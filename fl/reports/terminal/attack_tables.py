"""What an attacker learns from a run, on the terminal."""

from rich import box
from rich.console import Console
from rich.table import Table

from fl.privacy.attacks.attack_report import AttackReport, Inversion
from fl.reports.attack_text import how_to_read, inversion_sentences, places
from fl.reports.number_format import decimal, estimate
from fl.reports.terminal.notices import NOTICE


def print_attack(console: Console, report: AttackReport) -> None:
    """The attacks over all hospitals and at the smallest, and how to read them."""
    console.print(
        f"Attacks on {report.strategy}, task {report.task}, network {report.model}; updates of "
        f"round {report.round} of {report.rounds}."
    )
    for site, heading in places(report):
        console.print(_table(report, site, heading))
    console.print("in: members; out: others.")
    for sentence in how_to_read(report):
        console.print(sentence)
    if report.inversion is not None:
        console.print(_inversion_table(report.inversion))
        for sentence in inversion_sentences(report.inversion):
            console.print(sentence)
    for reason in report.not_measured:
        console.print(f"Not measured: {reason}.")
    if report.synthetic:
        console.print(NOTICE)


def _table(report: AttackReport, site: str, heading: str) -> Table:
    limits = [row.success.epsilon_limit for row in report.rows_at(site)]
    most = max((limit for limit in limits if limit is not None), default=None)
    shown = (
        ""
        if most is None
        else f" (so many patients could show an epsilon of up to {decimal(most)})"
    )
    table = Table(title=f"{heading}{shown}", box=box.SIMPLE, title_justify="left")
    table.add_column("attacked", no_wrap=True)
    table.add_column("by", no_wrap=True)
    for name in ("in", "out", "AUC", "TPR", "epsilon"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in report.rows_at(site):
        found = row.success
        table.add_row(
            row.target,
            row.attack,
            str(found.members),
            str(found.non_members),
            estimate(found.auc),
            estimate(found.tpr),
            decimal(found.epsilon),
        )
    return table


def _inversion_table(found: Inversion) -> Table:
    table = Table(title="gradient inversion", box=box.SIMPLE, title_justify="left")
    table.add_column("lead")
    headings = ("recordings", "correlation", "at its best shift", "with other patients, same")
    for name in headings:
        table.add_column(name, justify="right")
    for lead, match in found.leads.items():
        values = (match.correlation, match.shifted, match.shifted_other)
        table.add_row(lead, str(match.recordings), *(decimal(value) for value in values))
    return table
