"""The tables of attacks: every row, the commands behind them, and no folder of this machine."""

import io

from rich.console import Console

from benchmarks.studies.membership import attacked_by, made_by, tables
from fl.evaluation.group_evaluation import Estimate
from fl.privacy.attacks.attack_report import (
    EVERY,
    FINAL,
    LOSS,
    ONLINE,
    UPDATE,
    AttackReport,
    AttackRow,
    Inversion,
    LeadMatch,
    ShadowFacts,
)
from fl.privacy.attacks.success import Success
from fl.reports.attack_text import places
from fl.reports.terminal.attack_tables import print_attack
from fl.runs.run_facts import RunFacts


def estimate(value, low=None, high=None):
    return Estimate(value=value, low=low, high=high)


def success(members, interval=True):
    ends = (0.512, 0.787) if interval else (None, None)
    return Success(
        members=members,
        non_members=members // 2,
        unmatched=0,
        auc=estimate(0.673, *ends),
        tpr=estimate(0.125, *ends),
        fpr=estimate(0.0, 0.0, 0.1) if interval else estimate(0.0),
        epsilon=0.31 if interval else None,
        epsilon_limit=2.15 if interval else None,
    )


def report(**changed):
    rows = [
        AttackRow(target=target, attack=attack, site=site, success=success(n, n > 9))
        for site, n in ((EVERY, 1000), ("site-1", 5), ("site-2", 40))
        for target, attack in ((UPDATE, ONLINE), (FINAL, LOSS))
    ]
    match = LeadMatch(recordings=3, correlation=-0.004, shifted=0.3, shifted_other=0.12)
    inversion = Inversion(
        network="cnn_simple", weights=9, steps=4, recordings=3, cosine=0.9, leads={"II": match}
    )
    content = {
        "heartfed": "0.1.0",
        "task": "rhythm",
        "model": "resnet1d",
        "strategy": "fedavg",
        "synthetic": True,
        "round": 4,
        "rounds": 8,
        "delta": 1e-5,
        "per_patient": 16,
        "members": 1045,
        "non_members": 522,
        "smallest": "site-1",
        "rows": tuple(rows),
        "shadows": ShadowFacts(models=4, network="cnn_simple", epochs=1, round_epochs=3),
        "inversion": inversion,
        "not_measured": ("own models: none",),
    }
    return AttackReport(**content | changed)


def test_each_place_has_its_rows_in_the_order_of_targets():
    found = report()
    assert [name for name, _ in places(found)] == [EVERY, "site-1", "site-2"]
    assert [row.target for row in found.rows_at("site-2")] == [FINAL, UPDATE]
    lines = list(tables("run_sim.py", found))
    assert "| final model | loss threshold | 1000 | 500 | .673 [.512, .787]" in lines[8]
    assert lines[8].endswith("| 0.31 (of at most 2.15) |")
    assert any(line.startswith("| update | LiRA | 5 | 2 | .673 | .125 | n/a") for line in lines)
    assert "| II | 3 | 0.00 | 0.30 | 0.12 |" in lines
    assert any("1 epoch from random weights" in line for line in lines)
    assert lines[-1] == "Not measured: own models: none."
    assert lines[2].startswith("SYNTHETIC: Task rhythm")


def test_commands_name_no_folder_of_this_machine():
    facts = RunFacts(
        status="completed",
        config={},
        data=(),
        sites=(),
        command=("/a/run_sim.py", "--clients", "8", "--out", "/tmp/x", "--quiet", "--name", "n"),
    )
    assert made_by(facts) == "run_sim.py --clients 8"
    assert attacked_by(report()) == (
        "heartfed runs attack RUN --round 4 --shadows 4 --shadow-epochs 1 "
        "--shadow-model cnn_simple --inversions 3"
    )
    assert "--shadows 0 --inversions 0" in attacked_by(report(shadows=None, inversion=None))


def test_the_tables_fit_a_terminal_of_100_columns():
    text = io.StringIO()
    print_attack(Console(file=text, width=100), report())
    shown = text.getvalue()
    assert "…" not in shown
    assert "site-2, the smallest with enough patients for intervals" in shown
    assert "Not measured: own models: none." in shown
    assert "SYNTHETIC DATA" in shown
