"""The model card, and the JSON file beside the weights that prediction reads."""

import hashlib
import json
import re
import shutil

import pytest
from support import made_runs
from support.made_runs import facts

from fl.evaluation.group_evaluation import Estimate
from fl.evaluation.strategy_names import strategy_note
from fl.reports.card import write_cards
from fl.reports.number_format import estimate
from fl.reports.run_files import read_run

HEADINGS = (
    *("Intended use", "Limits", "Training data", "Preprocessing", "Results on test records"),
    *("Thresholds", "Files", "Licence"),
)


@pytest.mark.parametrize("kind", ["rhythm", "beat", "holdout", "compared"])
def test_a_card_has_all_its_parts(written, kind):
    card = (written(kind) / "weights" / "fedavg.md").read_text()
    assert tuple(re.findall(r"^## (.*)$", card, flags=re.MULTILINE)) == HEADINGS
    assert "Not a medical device" in card
    central = facts(written(kind) / "summary.json")["strategies"]["fedavg"]["central"]
    assert estimate(Estimate(**central["macro_f1"])) in card


@pytest.mark.parametrize("kind", ["rhythm", "beat"])
def test_its_tables_have_as_many_cells_in_every_line(written, kind):
    for line_group in re.findall(
        r"(?:^\|.*\n)+", (written(kind) / "weights" / "fedavg.md").read_text(), re.MULTILINE
    ):
        assert len({line.rstrip().count("|") for line in line_group.splitlines()}) == 1


def test_the_card_of_beats_says_how_one_class_is_answered(written):
    weights = written("beat") / "weights"
    card = (weights / "fedavg.md").read_text()
    assert "and N where there is none" in card
    assert re.search(r"^\| pooled \| - \| \S+ \| \S+ \| - \| - \| *$", card, re.MULTILINE)
    decision = facts(weights / "fedavg.json")["decision"]
    assert (decision["alone"], decision["otherwise"]) == ("", "N")


def test_the_file_beside_the_weights_states_their_checksum_and_thresholds(written):
    weights = written("rhythm") / "weights"
    stated = facts(weights / "fedavg.json")
    digest = hashlib.sha256((weights / stated["weights"]).read_bytes()).hexdigest()
    assert stated["sha256"] == digest
    summary = facts(written("rhythm") / "summary.json")
    assert stated["decision"]["thresholds"] == summary["strategies"]["fedavg"]["thresholds"]
    assert stated["classes"] == summary["classes"]


def test_a_comparison_has_a_card_for_every_model(written):
    weights = written("compared") / "weights"
    models = {path.name.removesuffix("-best.safetensors") for path in weights.glob("*-best.*")}
    assert models == {"fedavg", "fedprox", "pooled", "local-site-1", "local-site-2", "local-site-3"}
    for name in models:
        assert facts(weights / f"{name}.json")["strategy"] == name
    own = (weights / "local-site-2.md").read_text()
    assert "site-2" in own
    assert "site-1" not in own


def test_a_local_model_without_thresholds_of_its_own_has_no_card(copy):
    folder = copy("rhythm")
    made_runs.compare(folder)
    made_runs.change(
        folder / "summary.json", lambda s: s["strategies"]["local"].pop("thresholds_by_site")
    )
    write_cards(read_run(folder))
    assert not list((folder / "weights").glob("local-*.json"))
    assert (folder / "weights" / "pooled.json").is_file()


def test_the_card_of_fedbn_says_what_its_file_lacks(copy):
    folder = copy("rhythm")

    def rename(summary):
        summary["strategies"]["fedbn"] = summary["strategies"].pop("fedavg")

    made_runs.change(folder / "summary.json", rename)
    weights = folder / "weights"
    (weights / "fedavg-best.safetensors").rename(weights / "fedbn-best.safetensors")
    write_cards(read_run(folder))
    assert strategy_note("fedbn") in (weights / "fedbn.md").read_text()


def training_data(path):
    return path.read_text().split("## Training data")[1].split("## Preprocessing")[0]


def test_the_training_data_do_not_name_the_held_out_source(written):
    text = training_data(written("holdout") / "weights" / "fedavg.md")
    assert "- synthetic (" in text
    assert "synthetic-2lead" not in text


def test_the_training_data_count_the_patients_who_trained(written):
    rows = made_runs.table(written("holdout") / "partition.csv")
    train = {row["patient"] for row in rows if row["split"] == "train"}
    text = training_data(written("holdout") / "weights" / "fedavg.md")
    assert f"of {len(train)} patients trained the weights" in text


def test_one_sites_own_model_lists_its_own_sources_and_patients(written):
    folder = written("compared")
    rows = [r for r in made_runs.table(folder / "partition.csv") if r["site"] == "site-2"]
    text = training_data(folder / "weights" / "local-site-2.md")
    assert set(re.findall(r"^- ([\w-]+) ", text, flags=re.MULTILINE)) == {
        row["source"] for row in rows
    }
    train = {row["patient"] for row in rows if row["split"] == "train"}
    assert f"of {len(train)} patients trained the weights" in text


@pytest.mark.parametrize("secure", [False, True])
def test_a_card_says_what_the_server_learnt_and_that_no_budget_bounds_the_rest(
    written, tmp_path, secure
):
    run = tmp_path / "run"
    shutil.copytree(written("rhythm"), run)
    record = facts(run / "run.json")
    record["config"]["secure_aggregation"] = secure
    (run / "run.json").write_text(json.dumps(record))
    write_cards(read_run(run))
    card = (run / "weights" / "fedavg.md").read_text()
    assert ("the server learnt the sum alone" in card) is secure
    assert "o privacy budget bounds" in card
