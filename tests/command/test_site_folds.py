"""`--site-folds` from end to end: every patient tested once, in files like those of any run."""

import json
import shutil

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score
from support.recomputed import facts, table

import run_sim
from fl.reports.build import write_report
from heartfed.runs import main as runs_command

FLAGS = [
    *("--data", "synthetic", "--synthetic-records", "60", "--clients", "2", "--rounds", "1"),
    *("--model", "resnet1d", "--engine", "local", "--partition", "patients", "--workers", "1"),
    *("--local-epochs", "1", "--quiet", "--no-pages", "--site-folds", "2"),
]
COMPARED = ["--holdout", "synthetic-2lead", "--compare", "fedavg"]
FOLDS = ("fold-1", "fold-2")
SITES = ("site-1", "site-2")
AT_SERVER = ("central", "unseen")


def run(out, *flags):
    assert run_sim.main([*FLAGS, *flags, "--out", str(out), "--name", "run"]) == 0
    return out / "run"


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    """A comparison over two folds."""
    return run(tmp_path_factory.mktemp("folds"), *COMPARED)


@pytest.fixture
def copy(parent, tmp_path):
    return shutil.copytree(parent, tmp_path / "run")


def strategies(folder):
    return facts(folder / "summary.json")["strategies"]


def lines_of(rows, strategy, site):
    return [row for row in rows if (row["strategy"], row["site"]) == (strategy, site)]


def measures(rows, classes):
    """(F1, AUROC) of each class by scikit-learn, where it has a positive and a negative."""
    found = {}
    for c in classes:
        known = [row for row in rows if row[f"y_{c}"]]
        y, d = ([int(row[f"{kind}_{c}"]) for row in known] for kind in "yd")
        if len(set(y)) == 2:
            found[c] = f1_score(y, d), roc_auc_score(y, [float(row[f"p_{c}"]) for row in known])
    return found


def mean(values):
    """None where nothing can be measured."""
    return None if None in values else pytest.approx(np.mean(values))


def test_every_fold_is_a_complete_run_with_the_same_patients_at_the_same_sites(parent):
    first, second = (table(parent / fold / "partition.csv") for fold in FOLDS)
    for fold in FOLDS:
        assert facts(parent / fold / "run.json")["status"] == "completed"
        assert (parent / fold / "weights" / "fedavg-best.safetensors").is_file()
    for one, other in zip(first, second, strict=True):
        assert one | {"split": ""} == other | {"split": ""}
        tests = [one["split"], other["split"]].count("test")
        assert tests == (2 if one["site"] in AT_SERVER else 1)
    whole = table(parent / "partition.csv")
    assert whole == [row | {"split": "test"} for row in first]


def test_predictions_are_those_of_all_folds_and_each_record_of_a_site_is_there_once(parent):
    rows, dealt = table(parent / "predictions.csv"), table(parent / "partition.csv")
    each = [
        row | {"fold": fold.removeprefix("fold-")}
        for fold in FOLDS
        for row in table(parent / fold / "predictions.csv")
    ]
    assert rows == each
    for site in SITES:
        expected = sorted(row["record"] for row in dealt if row["site"] == site)
        for name in ("local", "pooled", "fedavg"):
            assert sorted(row["record"] for row in lines_of(rows, name, site)) == expected


def test_a_sites_measures_are_those_of_all_its_patients_at_once(parent):
    summary = facts(parent / "summary.json")
    rows, classes = table(parent / "predictions.csv"), summary["classes"]
    for name, training in summary["strategies"].items():
        for site in SITES:
            lines, found = lines_of(rows, name, site), training["sites"][site]
            each = measures(lines, classes)
            assert found["n_records"] == len(lines)
            assert found["n_patients"] == len({row["patient"] for row in lines})
            for c, (f1, auroc) in each.items():
                assert found["classes"][c]["f1"] == pytest.approx(f1, abs=1e-6)
                assert found["classes"][c]["auroc"] == pytest.approx(auroc, abs=1e-6)
            macro = [each[c] for c in found["macro_classes"]]
            for i, metric in enumerate(("macro_f1", "macro_auroc")):
                mean = np.mean([one[i] for one in macro]) if macro else None
                assert found[metric]["value"] == pytest.approx(mean, abs=1e-6)


def test_figures_on_records_of_no_site_are_the_mean_over_the_folds(parent):
    whole, folds = strategies(parent), [strategies(parent / fold) for fold in FOLDS]
    for name, training in whole.items():
        for where in AT_SERVER:
            parts = [fold[name][where] for fold in folds]
            for c, found in training[where]["classes"].items():
                for metric in ("f1", "auroc", "brier"):
                    assert found[metric] == mean([part["classes"][c][metric] for part in parts])
            value = mean([part["macro_f1"]["value"] for part in parts])
            assert training[where]["macro_f1"] == {"value": value, "low": None, "high": None}
        assert training["thresholds"] is None
        assert training["gradient_steps"] == sum(fold[name]["gradient_steps"] for fold in folds)


def test_differences_are_between_these_figures(parent):
    whole = strategies(parent)
    rows = facts(parent / "summary.json")["comparison"]["differences"]
    values = {
        (row["where"], row["metric"]): row["value"]
        for row in rows
        if (row["strategy"], row["against"]) == ("fedavg", "local")
    }
    one, other = whole["fedavg"], whole["local"]
    groups = {where: (one[where], other[where]) for where in AT_SERVER}
    groups |= {f"site:{site}": (one["sites"][site], other["sites"][site]) for site in SITES}
    for where, pair in groups.items():
        for metric in ("macro_f1", "macro_auroc"):
            a, b = (group[metric]["value"] for group in pair)
            assert values[where, metric] == pytest.approx(None if a is None else a - b)


def test_the_history_is_of_all_folds(parent):
    rounds = [table(folder / "rounds.csv") for folder in (parent, *(parent / f for f in FOLDS))]
    for whole, first, second in zip(*rounds, strict=True):
        assert (whole["strategy"], whole["round"]) == (first["strategy"], first["round"])
        assert int(whole["participants"]) == int(first["participants"]) * 2
        mean = (float(first["val_loss"]) + float(second["val_loss"])) / 2
        assert float(whole["val_loss"]) == pytest.approx(mean, abs=2e-6)
    tested = [row for row in table(parent / "sites.csv") if row["split"] == "test"]
    for row in tested:
        found = strategies(parent)[row["strategy"]]["sites"][row["site"]]
        assert (row["round"], int(row["n_records"])) == ("0", found["n_records"])


def test_the_run_says_that_each_patient_was_tested_once(parent, capsys):
    record = facts(parent / "run.json")
    assert (record["status"], record["site_folds"]) == ("completed", 2)
    assert (record["folds"], record["untested"]) == (list(FOLDS), {})
    at_sites = [row for row in record["sites"] if row["site"] in SITES]
    assert [(row["train"], row["val"]) for row in at_sites] == [(0, 0), (0, 0)]
    assert runs_command(["show", str(parent)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "2 folds: each patient of a site is tested once" in printed
    assert runs_command(["list", "--out", str(parent.parent)]) == 0
    assert "2 folds" in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_pages_are_written_as_of_any_run(copy):
    write_report(copy)
    assert (copy / "report" / "index.html").is_file()
    assert [p.stem for p in sorted((copy / "report" / "sites").iterdir())] == list(SITES)


def test_a_resumed_run_keeps_complete_folds_and_resumes_the_other(parent, copy):
    kept = (copy / "fold-1" / "run.json").read_bytes()
    stopped = copy / "fold-2"
    for file in ("summary.json", "predictions.csv", "checkpoint/parts/fedavg.json"):
        (stopped / file).unlink()
    for file in ("summary.json", "predictions.csv", "partition.csv"):
        (copy / file).unlink()
    for folder in (stopped, copy):
        record = facts(folder / "run.json") | {"status": "failed"}
        (folder / "run.json").write_text(json.dumps(record))
    assert run_sim.main(["--resume", str(copy), "--quiet", "--no-pages"]) == 0
    assert (copy / "fold-1" / "run.json").read_bytes() == kept
    for file in ("summary.json", "predictions.csv", "partition.csv", "sites.csv"):
        assert (copy / file).read_bytes() == (parent / file).read_bytes()
    for folder in (stopped, copy):
        record = facts(folder / "run.json")
        assert (record["status"], len(record["resumed"])) == ("completed", 1)


def test_a_run_with_other_folds_is_not_resumed(parent, capsys):
    assert run_sim.main(["--resume", str(parent), "--site-folds", "3"]) == 2
    assert "--site-folds is 3, the run has 2" in capsys.readouterr().err


def test_one_fold_alone_is_the_fold_of_the_whole_run(parent, tmp_path):
    alone = run(tmp_path, *COMPARED, "--site-fold", "2")
    for file in ("partition.csv", "predictions.csv", "summary.json"):
        assert (alone / file).read_bytes() == (parent / "fold-2" / file).read_bytes()


@pytest.mark.slow
def test_with_seeds_each_seed_has_folds(tmp_path):
    whole = run(tmp_path, "--seeds", "3,4")
    values = facts(whole / "seeds.json")["strategies"]["fedavg"]["central"]["macro_f1"]["values"]
    for seed, value in zip((3, 4), values, strict=True):
        folder = whole / f"seed-{seed}"
        assert strategies(folder)["fedavg"]["central"]["macro_f1"]["value"] == value
        for fold in (1, 2):
            config = facts(folder / f"fold-{fold}" / "run.json")["config"]
            assert (config["seed"], config["site_fold"], config["seeds"]) == (seed, fold, "")


def test_more_folds_than_patients_are_refused_in_one_line(tmp_path, capsys):
    given = ["--site-folds", "60", "--out", str(tmp_path)]
    assert run_sim.main([*FLAGS[:-2], *given]) == 2
    printed = capsys.readouterr().err
    assert "--site-folds is 60, but the largest site has" in printed
    assert printed.count("\n") == 1


def test_beats_are_tested_in_three_folds_unless_told_otherwise(tmp_path):
    folder = tmp_path / "run"
    flags = [flag for flag in FLAGS if flag not in ("--model", "resnet1d", "--site-folds")][:-1]
    flags += ["--task", "beat", "--model", "beat_mlp", "--out", str(tmp_path), "--name", "run"]
    assert run_sim.main(flags) == 0
    assert facts(folder / "run.json")["config"]["site_folds"] == 3
    assert sorted(path.name for path in folder.glob("fold-*")) == ["fold-1", "fold-2", "fold-3"]
    tested = [row for row in table(folder / "predictions.csv") if row["site"] in SITES]
    dealt = [row for row in table(folder / "partition.csv") if row["site"] in SITES]
    assert len(tested) == len(dealt) > 0
    assert {row["patient"] for row in tested} == {row["patient"] for row in dealt}
