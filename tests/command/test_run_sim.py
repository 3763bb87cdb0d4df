"""The command from end to end: what it writes, what it prints, and how it answers mistakes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.recomputed import assert_recomputed, facts, table

import fl
import run_sim
from fl.config.sections import SECTIONS
from fl.ecg.labels import BEAT_CLASSES, RHYTHM_CLASSES
from fl.ecg.tasks import TASKS
from fl.models import MODELS
from fl.training.augmentation import AUGMENTATIONS
from partitions.device_skew import SKEWS
from partitions.schemes import PARTITIONERS
from server.aggregation.strategies import STRATEGIES

ROOT = Path(__file__).parents[2]
CLASSES = {"rhythm": RHYTHM_CLASSES, "beat": BEAT_CLASSES}
QUICK = [
    *("--data", "synthetic", "--synthetic-records", "60", "--clients", "3", "--rounds", "2"),
    *("--model", "resnet1d", "--engine", "local", "--partition", "patients", "--workers", "1"),
    "--no-pages",
]
FILES = {
    *("run.json", "partition.csv", "rounds.csv", "sites.csv", "summary.json", "predictions.csv"),
    "partition.svg",
    *("weights/fedavg-best.safetensors", "weights/fedavg-last.safetensors"),
    *("weights/fedavg.json", "weights/fedavg.md"),  # without pages too: prediction reads them
}
COLUMNS = {
    "partition.csv": "source,record,patient,site,split,labels",
    "rounds.csv": "strategy,round,seconds,participants,failures,train_loss,val_loss,"
    "val_macro_f1,val_macro_auroc",
    "sites.csv": "strategy,round,site,split,n_records,loss,macro_f1,macro_auroc",
}
RUNS = {
    "rhythm": [],
    "beat": ["--task", "beat", "--per-recording", "5", "--rounds", "1", "--site-folds", "0"],
    "holdout": ["--holdout", "synthetic-2lead", "--quiet"],
    "skew": ["--skew", "noise,gain,leads,rate", "--holdout", "site-2", "--rounds", "1"],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Each run's folder, made when it is first asked for."""
    out, made = tmp_path_factory.mktemp("runs"), {}

    def folder(name):
        if name not in made:
            made[name] = out / name
            assert run_sim.main([*QUICK, *RUNS[name], "--out", str(out), "--name", name]) == 0
        return made[name]

    return folder


def header(path):
    return path.read_text().splitlines()[0].split(",")


@pytest.mark.parametrize("name", RUNS)
def test_every_figure_of_the_summary_can_be_had_from_the_predictions(runs, name):
    folder = runs(name)
    summary, rows = facts(folder / "summary.json"), table(folder / "predictions.csv")
    result, classes = summary["strategies"]["fedavg"], summary["classes"]
    assert classes == list(CLASSES[summary["task"]])
    groups = {"central": result["central"], "unseen": result["unseen"]} | result["sites"]
    measured = {site: found for site, found in groups.items() if found}
    assert {row["site"] for row in rows} == set(measured)
    for site, found in measured.items():
        own_rows = [row for row in rows if row["site"] == site]
        by_source = site in ("central", "unseen")
        assert_recomputed(found, own_rows, classes, by_source)
    for source, found in result["central_by_source"].items():
        own_rows = [r for r in rows if r["site"] == "central" and r["source"] == source]
        assert_recomputed(found, own_rows, classes)
    f1 = {s: r["macro_f1"]["value"] for s, r in result["sites"].items() if r}
    f1 = {site: value for site, value in f1.items() if value is not None}
    if not f1:  # no site has five test patients with a class
        assert result["worst_site"] is result["site_mean"] is result["spread"] is None
        return
    assert result["worst_site"]["macro_f1"] == min(f1.values())
    assert result["site_mean"]["macro_f1"] == pytest.approx(np.mean(list(f1.values())))
    assert result["spread"]["macro_f1_sd"] == pytest.approx(np.std(list(f1.values())))


@pytest.mark.parametrize("name", ["rhythm", "holdout"])
def test_decisions_follow_from_calibrated_probabilities_and_thresholds(runs, name):
    folder = runs(name)
    result = facts(folder / "summary.json")["strategies"]["fedavg"]
    decided = 0
    for row in table(folder / "predictions.csv"):
        at = result["thresholds"].get(row["source"], result["thresholds"]["pooled"])
        above = {c for c, t in at.items() if float(row[f"p_{c}"]) >= t}
        chosen = {c for c in at if row[f"d_{c}"] == "1"}
        decided += len(chosen)
        assert chosen <= above
        if "NSR" not in above or above == {"NSR"}:
            assert chosen == above
        else:
            assert chosen in ({"NSR"}, above - {"NSR"})
    assert decided > 0


def test_a_beat_has_one_answer_which_follows_from_probabilities_and_thresholds(runs):
    folder = runs("beat")
    result = facts(folder / "summary.json")["strategies"]["fedavg"]
    assert {frozenset(at) for at in result["thresholds"].values()} == {frozenset("SV")}
    assert {frozenset(maps) for maps in result["calibration"].values()} == {frozenset("NSV")}
    rows = table(folder / "predictions.csv")
    answers = set()
    for row in rows:
        at = result["thresholds"].get(row["source"], result["thresholds"]["pooled"])
        p = {c: float(row[f"p_{c}"]) for c in at}
        odds = {c: p[c] / (1 - p[c]) / (t / (1 - t)) for c, t in at.items() if p[c] >= t}
        (answer,) = (c for c in BEAT_CLASSES if row[f"d_{c}"] == "1")
        assert answer == max(odds, key=odds.get, default="N")
        answers.add(answer)
    assert "N" in answers
    assert len(answers) > 1, "every beat is N: nothing has been tested"


@pytest.mark.parametrize("name", RUNS)
def test_the_run_directory_is_as_agreed(runs, name):
    folder = runs(name)
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert {f for f in files if not f.startswith("checkpoint/")} == FILES
    for name, columns in COLUMNS.items():
        assert ",".join(header(folder / name)) == columns
    classes = facts(folder / "summary.json")["classes"]
    assert header(folder / "predictions.csv") == [
        *("strategy", "source", "record", "patient", "site", "split"),
        *(f"y_{c}" for c in classes),
        *(f"p_{c}" for c in classes),
        *(f"d_{c}" for c in classes),
        "fold",
    ]
    for file in FILES - {f for f in FILES if f.startswith("weights/")}:
        assert "nan" not in (folder / file).read_text().lower()


@pytest.mark.parametrize("name", RUNS)
def test_predictions_are_of_the_test_records_of_the_partition_and_of_no_other(runs, name):
    folder = runs(name)
    expected = {
        (r["source"], r["record"], r["patient"], r["site"])
        for r in table(folder / "partition.csv")
        if r["split"] == "test"
    }
    rows = table(folder / "predictions.csv")
    assert {(r["source"], r["record"], r["patient"], r["site"]) for r in rows} == expected
    assert len(rows) == len(expected)


def test_rounds_and_sites_are_all_there(runs):
    folder = runs("rhythm")
    rounds, sites = table(folder / "rounds.csv"), table(folder / "sites.csv")
    assert [row["round"] for row in rounds] == ["1", "2"]
    assert {(row["participants"], row["failures"]) for row in rounds} == {("3", "0")}
    assert sum(row["split"] == "val" for row in sites) == 6
    assert sum(row["split"] == "test" for row in sites) == 3


def test_run_json_records_what_was_run(runs):
    record = facts(runs("rhythm") / "run.json")
    assert record["status"] == "completed"
    assert record["config"]["clients"] == 3
    assert record["config"]["model"] == "resnet1d"
    assert {"flwr", "ray", "torch", "python"} <= record["versions"].keys()
    assert {d["source"]: d["recordings"] for d in record["data"]} == {
        "synthetic": 60,
        "synthetic-2lead": 30,
    }
    assert record["failures"] == []


def test_a_source_held_out_is_unseen_and_nobody_trains_on_it(runs):
    folder = runs("holdout")
    result = facts(folder / "summary.json")["strategies"]["fedavg"]
    assert result["unseen"]["n_records"] == 30
    rows = [r for r in table(folder / "partition.csv") if r["source"] == "synthetic-2lead"]
    assert {(r["site"], r["split"]) for r in rows} == {("unseen", "test")}
    assert set(result["thresholds"]) == {"pooled", "synthetic"}


def test_a_site_held_out_is_unseen_and_every_other_has_a_device_of_its_own(runs):
    record = facts(runs("skew") / "run.json")
    assert record["devices"].keys() == {"site-1", "site-3"}
    assert 0 < record["non_iid"] < 1
    assert {row["site"] for row in table(runs("skew") / "sites.csv")} == {"site-1", "site-3"}
    unseen = facts(runs("skew") / "summary.json")["strategies"]["fedavg"]["unseen"]
    assert unseen["n_records"] > 0


def test_a_saved_partition_gives_the_same_run_again(runs, tmp_path):
    folder = runs("rhythm")
    given = ["--partition", f"file:{folder / 'partition.csv'}", "--out", str(tmp_path)]
    assert run_sim.main([*QUICK, *given, "--name", "again"]) == 0
    for file in ("partition.csv", "partition.svg", "weights/fedavg-last.safetensors"):
        assert (tmp_path / "again" / file).read_bytes() == (folder / file).read_bytes()


def test_synthetic_data_is_called_so_everywhere(runs, tmp_path, capsys):
    folder = runs("rhythm")
    assert facts(folder / "summary.json")["synthetic"] is True
    assert facts(folder / "run.json")["synthetic"] == ["synthetic", "synthetic-2lead"]
    arguments = [*QUICK, "--rounds", "1", "--quiet", "--out", str(tmp_path)]
    assert run_sim.main(arguments) == 0
    printed = capsys.readouterr().out
    assert (
        printed.index("SYNTHETIC DATA") < printed.index("AUROC") < printed.rindex("SYNTHETIC DATA")
    )


@pytest.mark.slow  # tests/server/engines/test_grid_internals.py has the same without the command
def test_flowers_own_engine_gives_the_same_weights(runs, tmp_path):
    arguments = [*QUICK, "--engine", "flower", "--out", str(tmp_path), "--name", "run"]
    done = command(*arguments)
    assert done.returncode == 0, done.stderr
    file = "weights/fedavg-last.safetensors"
    assert (tmp_path / "run" / file).read_bytes() == (runs("rhythm") / file).read_bytes()


@pytest.mark.slow
def test_workers_give_the_same_weights_under_skew(runs, tmp_path):
    arguments = [*QUICK, *RUNS["skew"], "--engine", "ray", "--out", str(tmp_path), "--name", "run"]
    done = command(*arguments, "--workers", "2")
    assert done.returncode == 0, done.stderr
    file = "weights/fedavg-last.safetensors"
    assert (tmp_path / "run" / file).read_bytes() == (runs("skew") / file).read_bytes()


@pytest.mark.parametrize(
    ("flags", "in_file", "environment", "wanted"),
    [
        (["--data-dir", "flag"], "data-dir = 'file'", "environment", "flag"),
        ([], "data-dir = 'file'", "environment", "file"),
        ([], "rounds = 3", "environment", "environment"),
        ([], "rounds = 3", "", "data"),
        ([], "rounds = 3", None, "data"),
    ],
)
def test_the_data_folder_is_the_flags_then_the_files_then_the_environments(
    tmp_path, monkeypatch, flags, in_file, environment, wanted
):
    monkeypatch.chdir(tmp_path)
    for name in ("flag", "file", "environment"):
        Path(name).mkdir()
    Path("run.toml").write_text(in_file)
    monkeypatch.delenv("ECG_DATA", raising=False)
    if environment is not None:
        monkeypatch.setenv("ECG_DATA", environment)
    config, _ = run_sim.settings(["--config", "run.toml", *flags])
    assert config.data_dir == wanted


def test_a_folder_named_by_the_environment_must_be_there(monkeypatch, capsys):
    monkeypatch.setenv("ECG_DATA", "/nope")
    assert run_sim.main([]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("run_sim.py: error: $ECG_DATA is '/nope': no such folder.")
    assert printed.count("\n") == 1
    config, _ = run_sim.settings(["--data", "synthetic"])
    assert config.data == "synthetic"


def test_without_a_named_folder_the_synthetic_cohort_is_used_with_a_notice(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("ECG_DATA", "")  # as `make sim` sets it where there is no ./data
    monkeypatch.chdir(tmp_path)
    arguments = [word for word in QUICK if word not in ("--data", "synthetic")]
    assert run_sim.main([*arguments, "--dry-run"]) == 0
    assert "SYNTHETIC DATA" in capsys.readouterr().out


def test_the_file_gives_defaults_and_a_flag_wins(tmp_path):
    (tmp_path / "run.toml").write_text("clients = 4\nrounds = 9\nlocal-epochs = 2\n")
    config, _ = run_sim.settings(["--config", str(tmp_path / "run.toml"), "--rounds", "3"])
    assert (config.clients, config.rounds, config.local_epochs) == (4, 3, 2)


def command(*arguments):
    """The command as a user runs it; its workers end with it, even when it hangs."""
    process = subprocess.Popen(
        [sys.executable, "run_sim.py", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        printed = process.communicate(timeout=150)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return subprocess.CompletedProcess(arguments, process.returncode, *printed)


MISTAKES = {
    "model": (["--model", "nope"], "--model is 'nope'. Known:"),
    "nearly a model": (["--model", "resnet"], "--model is 'resnet'. Did you mean resnet1d? Known:"),
    "task": (["--task", "rythm"], "--task is 'rythm': input should be 'rhythm', 'beat'"),
    "engine": (["--engine", "spark"], "--engine is 'spark': input should be 'ray', 'local' or"),
    "strategy": (["--strategy", "nope"], "--strategy is 'nope'. Known:"),
    "partition": (["--partition", "nope"], "--partition is 'nope'. Known: dirichlet"),
    "partition file": (["--partition", "file:{empty}/p.csv"], "{empty}/p.csv: no such file"),
    "skew": (["--skew", "noise,nope"], "--skew is 'nope'. Known: gain, leads"),
    "holdout": (["--holdout", "site-9"], "--holdout is 'site-9'. Did you mean site-3? Known: "),
    "rounds": (["--rounds", "-1"], "--rounds is '-1'"),
    "no data": (["--data", "real", "--data-dir", "{empty}"], "--data is 'real', but {empty}"),
    "sites": (["--clients", "80"], "and each site needs one"),
    "no folder": (
        ["--data", "auto", "--data-dir", "{empty}/nope"],
        "--data-dir is '{empty}/nope': no such folder",
    ),
    "no folder in the file": (
        ["--data", "auto", "--config", "{gone}"],
        "--config {gone}: data-dir is '/nope': no such folder",
    ),
    "one site": (["--clients", "1"], "every source needs a site of its own"),
    "source": (["--sources", "nope"], "--sources names 'nope'"),
    "no source": (
        ["--data", "auto", "--data-dir", "{empty}", "--sources", "mitdb"],
        "mitdb: not found in {empty}",
    ),
    "out is a file": (["--out", "{file}"], "--out: {file}"),
    "out": (["--out", "/proc/nope"], "--out: /proc/nope"),
    "cache": (["--cache-dir", "/proc/nope"], "--cache-dir: /proc/nope"),
    "cluster": (["--engine", "ray", "--ray-address", "nope"], "--ray-address is 'nope'. Accepted"),
    "no cluster": (
        ["--engine", "ray", "--ray-address", "127.0.0.1:1"],
        "--ray-address 127.0.0.1:1: nothing answers there (Connection refused)",
    ),
    "cluster engine": (
        ["--ray-address", "auto"],
        "--ray-address is 'auto', but --engine is 'local'",
    ),
    "compare": (["--compare", "fedavg,nope"], "--compare is 'nope'. Known: fedadagrad"),
    "compare what is always there": (["--compare", "local"], "--compare is 'local'. Known: "),
    "seeds": (["--seeds", "0,x"], "--seeds is '0,x'"),
    "seed and seeds": (["--seed", "1", "--seeds", "0,1"], "--seed is 1 and --seeds is 0,1: give"),
    "resume": (["--resume", "runs/x"], "--resume: "),
    "toml": (["--config", "{file}"], "not valid TOML"),
    "toml key": (["--config", "{key}"], "unknown key ruonds. Did you mean rounds?"),
    "no toml": (["--config", "{empty}/none.toml"], "cannot be read"),
}


@pytest.fixture
def filled(tmp_path):
    """Put the test's own paths where an argument names them."""
    paths = {name: tmp_path / name for name in ("empty", "file", "key", "gone")}
    paths["empty"].mkdir()
    paths["file"].write_text("not TOML")
    paths["key"].write_text("ruonds = 3")
    paths["gone"].write_text("data-dir = '/nope'")
    return lambda text: text.format(**paths)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_answered_in_one_line_on_stderr(tmp_path, capsys, filled, name):
    arguments, wanted = MISTAKES[name]
    given = [*QUICK, "--quiet", "--out", str(tmp_path / "runs"), *map(filled, arguments)]
    assert run_sim.main(given) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("run_sim.py: error: ")
    assert filled(wanted) in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--modle", "x"], "unknown argument --modle. Did you mean --model?"),
        (["--epochs=3"], "unknown argument --epochs=3. Did you mean --local-epochs?"),
        (["--xyz"], "unknown argument --xyz."),
        (["sim"], "unknown argument sim."),
        (["--rounds"], "argument --rounds: expected one argument."),
        (["--round", "3"], "unknown argument --round. Did you mean --rounds?"),
    ],
)
def test_a_flag_that_is_not_known_is_answered_in_one_line_with_the_nearest_one(
    capsys, arguments, wanted
):
    with pytest.raises(SystemExit) as end:
        run_sim.main(arguments)
    assert end.value.code == 2
    assert capsys.readouterr().err == f"run_sim.py: error: {wanted} Help: run_sim.py --help\n"


SLOW_TO_LOAD = ("torch", "flwr", "ray", "matplotlib")


@pytest.mark.parametrize(
    ("arguments", "loaded"),
    [
        (["--modle", "x"], []),
        (["--rounds", "-1"], []),
        (["--data-dir", "/nope"], []),
        (["--model", "nope"], ["torch"]),
        (["--sources", "nope"], ["torch"]),
        (["--data", "synthetic", "--partition", "nope"], ["torch"]),
        (["--data", "synthetic", "--strategy", "nope"], ["torch", "flwr"]),
    ],
)
def test_a_mistake_is_answered_before_what_is_slow_to_load(arguments, loaded):
    code = (
        "import sys, run_sim\n"
        "try:\n    code = run_sim.main(sys.argv[1:])\n"
        "except SystemExit as end:\n    code = end.code\n"
        f"print(code, *(name for name in {SLOW_TO_LOAD} if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.split() == ["2", *loaded], done.stderr


def test_the_process_exits_with_2_and_no_traceback():
    done = command("--model", "nope")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("run_sim.py: error: --model is 'nope'")
    assert "Traceback" not in done.stderr


def test_a_name_that_is_taken_is_refused_and_nothing_is_overwritten(runs, capsys):
    folder = runs("rhythm")
    before = (folder / "run.json").read_text()
    assert run_sim.main([*QUICK, "--out", str(folder.parent), "--name", folder.name]) == 2
    assert "already there" in capsys.readouterr().err
    assert (folder / "run.json").read_text() == before


def shown(arguments, capsys):
    """What the command prints that then exits with 0, its white space made even."""
    with pytest.raises(SystemExit) as end:
        run_sim.main(arguments)
    assert end.value.code == 0
    return " ".join(capsys.readouterr().out.split())


def test_help_names_every_flag_under_its_section(capsys):
    printed = shown(["--help"], capsys)
    places = [printed.index(f" {section.title}: {section.__doc__}") for section in SECTIONS]
    assert places == sorted(places)
    for section, begin, end in zip(SECTIONS, places, [*places[1:], len(printed)], strict=True):
        for name in section.model_fields:
            assert f" --{name.replace('_', '-')} " in printed[begin:end]
    for flag in ("--config", "--out", "--resume", "--dry-run"):
        assert f" {flag} " in printed[places[-1] :]


def test_help_names_the_choices(capsys):
    printed = shown(["--help"], capsys)
    for names in (MODELS, STRATEGIES, PARTITIONERS, AUGMENTATIONS, SKEWS, TASKS):
        for name in names:
            assert name in printed
    assert "Known: iid, dirichlet" in printed


def test_the_version_is_shown(capsys):
    assert shown(["--version"], capsys) == f"HeartFed {fl.__version__}"


def test_a_dry_run_shows_what_a_run_would_do_and_trains_nothing(runs, tmp_path, capsys):
    out = tmp_path / "runs"
    assert run_sim.main([*QUICK, "--dry-run", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert not out.exists()
    for line in ("clients = 3  # not the default", "mu = 1.0", 'engine = "local"'):
        assert f"\n{line}" in printed
    assert "Source synthetic: 60 records of 57 patients, 0 left out" in printed
    run = facts(runs("rhythm") / "run.json")
    rows = {line.split()[0]: line.split() for line in printed.splitlines() if " site-" in line}
    for row in run["sites"]:
        if row["site"].startswith("site-"):
            assert str(row["train"]) in rows[row["site"]]
    steps = run["trainings"]["fedavg"]["gradient_steps"] // 2
    assert f"This is an estimate: {steps} training steps a round" in " ".join(printed.split())
