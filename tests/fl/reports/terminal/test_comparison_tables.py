"""The terminal output of a comparison, while it runs and at its end."""

import io

from rich.console import Console

from fl.evaluation.strategy_comparison import ComparisonRow
from fl.messages.payloads import SiteInfo
from fl.reports.terminal.comparison_tables import main_sentences
from fl.reports.terminal.progress import LiveView
from fl.runs.history_tables import RoundRow


def hello(name):
    return SiteInfo(site=name, n_train=7, n_val=1, n_test=1)


def row(strategy, number):
    figures = dict.fromkeys(("train_loss", "val_loss", "val_macro_f1", "val_macro_auroc"), 0.5)
    counts = {"round": number, "seconds": 1.0, "participants": 2, "failures": 0}
    return RoundRow(strategy=strategy, **counts, **figures)


def test_the_live_view_has_a_bar_for_each_training_and_a_line_for_each_who_trains():
    console = Console(file=io.StringIO(), force_terminal=True, width=100, highlight=False)
    view = LiveView(console)
    view.training("local", 2, [hello("site-1"), hello("site-2")])
    view.training("pooled", 2, [hello("pooled")])
    view.baseline_round("site-2", row("local", 1), False)
    view.round(row("pooled", 1))
    tasks = {task.description: (task.completed, task.total) for task in view.bar.tasks}
    assert tasks == {"local": (1, 4), "pooled": (1, 2)}
    assert view.sites == {
        "site-1": "7 training patients",
        "site-2": "round 1: trained and validated (local training)",
        "pooled": "round 1: trained and validated",
    }
    view.baseline_round("site-2", row("local", 2), True)
    view.training("fedavg", 2, [hello("site-1")])
    view.round(row("fedavg", 2))
    view.close()
    tasks = {task.description: (task.completed, task.total) for task in view.bar.tasks}
    assert tasks == {"local": (2, 4), "pooled": (1, 2), "fedavg": (2, 2)}
    assert "local, site-2, round   2" in console.file.getvalue()


def difference(where, low, high, value=0.1, metric="macro_f1"):
    return ComparisonRow(
        strategy="fedavg",
        against="local",
        where=where,
        metric=metric,
        value=value,
        low=low,
        high=high,
        n_patients=20,
        sentence=f"{where} {metric}.",
    )


def test_groups_and_sites_that_differ_have_a_sentence_and_other_sites_are_listed():
    given = [
        difference("central", -0.1, 0.2),
        difference("central", 0.1, 0.2, metric="macro_auroc"),
        difference("site:a", 0.05, 0.2),
        difference("site:b", -0.1, 0.2),
        difference("site:c", None, None),
        difference("site:d", -0.2, 0.3),
        difference("mean_site", 0.01, 0.2),
    ]
    assert list(main_sentences(given)) == [
        "  central macro_f1.",
        "  mean_site macro_f1.",
        "  site:a macro_f1.",
        "  FedAvg compared with local training, no evidence of a difference: b, d.",
        "  FedAvg compared with local training, too few test patients for an interval: c.",
    ]
