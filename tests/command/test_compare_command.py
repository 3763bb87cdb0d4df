"""`--compare` and `--seeds` from end to end: what is written, and that it can be recomputed."""

import json
import re
import shutil

import numpy as np
import pytest
from support.recomputed import assert_recomputed, facts, table

import run_sim

FLAGS = [
    *("--data", "synthetic", "--synthetic-records", "150", "--clients", "2", "--rounds", "1"),
    *("--model", "resnet1d", "--engine", "local", "--partition", "patients", "--workers", "1"),
    *("--local-epochs", "1", "--holdout", "synthetic-2lead", "--no-pages"),
]
NAMES = ["local", "pooled", "finetune", "fedavg"]
SITES = ["site-1", "site-2"]


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    """A comparison over two seeds."""
    out = tmp_path_factory.mktemp("compared")
    given = ["--compare", "finetune,fedavg", "--seeds", "0,1", "--quiet"]
    assert run_sim.main([*FLAGS, *given, "--out", str(out), "--name", "run"]) == 0
    return out / "run"


@pytest.fixture
def summary(parent):
    return facts(parent / "seed-0" / "summary.json")


def value(group, metric="macro_f1"):
    return group[metric]["value"]


def test_every_strategy_can_be_recomputed_from_the_predictions(parent, summary):
    rows, classes = table(parent / "seed-0" / "predictions.csv"), summary["classes"]
    assert list(summary["strategies"]) == NAMES

    def at(strategy, site):
        return [r for r in rows if (r["strategy"], r["site"]) == (strategy, site)]

    for name in NAMES[1:]:
        result = summary["strategies"][name]
        for where in ("central", "unseen"):
            assert_recomputed(result[where], at(name, where), classes, by_source=True)
        for site in SITES:
            assert_recomputed(result["sites"][site], at(name, site), classes)
    local = summary["strategies"]["local"]
    for site in SITES:
        assert_recomputed(local["sites"][site], at("local", site), classes)
        for where in ("central", "unseen"):
            rows_of_its_model = at(f"local-{site}", where)
            found = local[f"{where}_by_site"][site]
            assert_recomputed(found, rows_of_its_model, classes, by_source=True)
    for where in ("central", "unseen"):
        each = [value(local[f"{where}_by_site"][site]) for site in SITES]
        assert value(local[where]) == (None if None in each else pytest.approx(np.mean(each)))
        assert local[where]["macro_f1"]["low"] is None
    known = {*NAMES, *(f"local-{site}" for site in SITES)}
    assert {row["strategy"] for row in rows} == known


def test_differences_are_those_of_the_summary(summary):
    results, found = summary["strategies"], summary["comparison"]["differences"]
    for row in found:
        one, other = results[row["strategy"]], results[row["against"]]
        where, metric = row["where"], row["metric"]
        if where in ("central", "unseen"):
            pair = [value(r[where], metric) for r in (one, other)]
            assert row["n_patients"] == one[where]["n_patients"]
        elif where.startswith("site:"):
            pair = [value(r["sites"][where[5:]], metric) for r in (one, other)]
        else:
            at = [[value(r["sites"][s], metric) for s in SITES] for r in (one, other)]
            pair = [np.mean([v for v in some if v is not None] or [np.nan]) for some in at]
            pair = [None if np.isnan(v) else v for v in pair]
        expected = None if None in pair else pytest.approx(pair[0] - pair[1])
        assert row["value"] == expected
        assert row["low"] is None or row["low"] <= row["high"]
        assert row["sentence"].endswith(".")
    pairs = [(r["strategy"], r["against"]) for r in found]
    assert list(dict.fromkeys(pairs)) == [
        ("pooled", "local"),
        *(("finetune", against) for against in ("local", "pooled", "fedavg")),
        *(("fedavg", against) for against in ("local", "pooled")),
    ]
    wheres = ["central", "unseen", "site:site-1", "site:site-2", "mean_site"]
    assert [r["where"] for r in found][:5] == wheres
    # Its model of all is FedAvg's: the two differ at the sites alone.
    assert {r["where"] for r in found if r["strategy"] == "finetune"} == set(wheres[2:])
    budget = summary["comparison"]["budget"]
    assert (budget["rounds"], budget["local_epochs"]) == (1, 1)
    assert list(budget["steps"]) == NAMES


def is_own_model(path):
    """A site's own model, which only a site has that further training made better."""
    return re.match(r"finetune-site-\d\.", path.name)


def test_the_run_directory_holds_the_weights_of_all_and_run_json_lists_each(parent):
    folder = parent / "seed-0"
    files = {p for p in (folder / "weights").glob("*.safetensors") if not is_own_model(p)}
    weights = {path.name.removesuffix(".safetensors") for path in files}
    best = {f"{name}-best" for name in (*NAMES[1:], "local-site-1", "local-site-2")}
    assert weights == best | {f"{name}-last" for name in NAMES[1:]}
    record = facts(folder / "run.json")
    assert (record["status"], record["failures"], record["seed"]) == ("completed", [], 0)
    assert record["config"]["compare"] == "finetune,fedavg"
    assert list(record["trainings"]) == NAMES


def test_seeds_are_put_together_in_the_parent(parent):
    found, whole = facts(parent / "seeds.json"), facts(parent / "run.json")
    assert found["seeds"] == whole["seeds"] == [0, 1]
    assert whole["status"] == "completed"
    summaries = [facts(parent / f"seed-{seed}" / "summary.json") for seed in (0, 1)]
    for name in NAMES:
        values = [value(s["strategies"][name]["central"]) for s in summaries]
        spread = found["strategies"][name]["central"]["macro_f1"]
        assert spread["values"] == values
        known = [v for v in values if v is not None]
        assert spread["mean"] == (pytest.approx(np.mean(known)) if known else None)
    assert len(found["differences"]) == len(summaries[0]["comparison"]["differences"])
    seeds = [(parent / f"seed-{n}" / "partition.csv").read_bytes() for n in (0, 1)]
    assert seeds[0] != seeds[1]


def contents(folder):
    """Every file but run.json, without times."""
    files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    found = {
        name: path.read_bytes()
        for name, path in files.items()
        if not name.startswith("checkpoint/") and path.name not in ("run.json", "rounds.csv")
    }
    rounds = table(folder / "rounds.csv")
    return found | {"rounds.csv": [{**row, "seconds": ""} for row in rounds]}


def test_a_resumed_parent_keeps_finished_seeds_and_resumes_the_other(parent, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(parent, copy)
    kept = (copy / "seed-0" / "run.json").read_bytes()
    stopped = copy / "seed-1"
    for file in ("summary.json", "predictions.csv", "checkpoint/parts/fedavg.json"):
        (stopped / file).unlink()
    shutil.rmtree(stopped / "checkpoint" / "fedavg")
    (copy / "seeds.json").unlink()
    for folder in (stopped, copy):
        record = facts(folder / "run.json") | {"status": "failed"}
        (folder / "run.json").write_text(json.dumps(record))
    assert run_sim.main(["--resume", str(copy), "--quiet", "--no-pages"]) == 0
    assert (copy / "seed-0" / "run.json").read_bytes() == kept
    assert contents(stopped) == contents(parent / "seed-1")
    assert (copy / "seeds.json").read_bytes() == (parent / "seeds.json").read_bytes()
    for folder in (stopped, copy):
        record = facts(folder / "run.json")
        assert (record["status"], len(record["resumed"])) == ("completed", 1)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--seeds", "0,2"], "--seeds is 0,2, the run has 0,1"),
        (["--seed", "1"], "--seed is 1 and --seeds is 0,1"),
        (["--compare", "krum"], "the run has finetune,fedavg"),
    ],
)
def test_another_comparison_is_not_resumed(parent, capsys, flags, words):
    assert run_sim.main(["--resume", str(parent), *flags]) == 2
    printed = capsys.readouterr().err
    assert words in printed
    assert printed.count("\n") == 1


def test_the_terminal_shows_a_table_and_sentences(parent, tmp_path, capsys):
    copy = tmp_path / "run"
    shutil.copytree(parent, copy)
    assert run_sim.main(["--resume", str(copy / "seed-0"), "--quiet", "--no-pages"]) == 0
    printed = capsys.readouterr().out
    head = [line.split() for line in printed.splitlines() if "local" in line]
    assert ["patients", *NAMES] in head
    for line in ("central", "unseen", "mean of sites", "worst site", "spread (sd)", "site-1"):
        assert f" {line} " in printed
    sentences = facts(copy / "seed-0" / "summary.json")["comparison"]["differences"]
    words = " ".join(printed.split())
    assert sentences[0]["sentence"] in words
    assert words.index("SYNTHETIC DATA") < words.index("macro-F1") < words.rindex("SYNTHETIC DATA")
    assert run_sim.main(["--resume", str(copy), "--quiet", "--no-pages"]) == 0
    assert "mean over seeds 0, 1 (lowest to highest)" in capsys.readouterr().out


def test_alone_the_flag_takes_the_usual_strategies():
    config, _ = run_sim.settings(["--compare", "--rounds", "3"])
    assert config.strategies == ("fedavg", "fedprox")
