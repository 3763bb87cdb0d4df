"""Settings are checked once, and a mistake is answered in one line that names the flag."""

import tomllib
from pathlib import Path

import pytest

from fl.config.config_file import load_config
from fl.config.run_config import RunConfig
from fl.config.sections import SECTIONS, PartitionSettings
from fl.ecg.tasks import TASKS
from fl.util.errors import ConfigError, require_known

ROOT = Path(__file__).parents[3]


@pytest.fixture
def toml(tmp_path):
    def write(text):
        path = tmp_path / "run.toml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("name", ["rhythm", "beat"])
def test_a_task_brings_its_own_defaults(name):
    config, task = RunConfig(task=name), TASKS[name]
    assert (config.model, config.partition) == (task.model, task.partition)
    assert (config.rounds, config.local_epochs) == (task.rounds, task.local_epochs)
    assert (config.per_recording, config.site_folds) == (task.per_recording, task.site_folds)
    assert RunConfig(**config.model_dump()) == config


def test_what_is_given_is_not_replaced_by_a_default():
    config = RunConfig(task="beat", model="lstm", partition="dirichlet", per_recording=0)
    assert (config.model, config.partition, config.per_recording) == ("lstm", "dirichlet", 0)
    config = RunConfig(task="beat", rounds=2, local_epochs=4, site_folds=0)
    assert (config.rounds, config.local_epochs, config.site_folds) == (2, 4, 0)
    assert RunConfig(**config.model_dump()) == config


def test_beats_test_every_patient_of_a_site_once_and_rhythm_has_one_run():
    assert RunConfig(task="beat").each_fold == (1, 2, 3)
    assert RunConfig(task="beat", site_fold=2).each_fold == ()
    assert RunConfig(task="rhythm").each_fold == ()


def test_settings_survive_the_way_to_a_worker():
    config = RunConfig(alpha=0.1, lr=1 / 3, clients=5)
    assert RunConfig.model_validate_json(config.model_dump_json()) == config


def test_settings_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        RunConfig().rounds = 3


def test_a_flag_wins_over_the_file_and_the_file_over_the_default(toml):
    file = toml("rounds = 7\nlocal-epochs = 3")
    config = load_config({"rounds": "2"}, file)
    assert (config.rounds, config.local_epochs) == (2, 3)
    assert config.batch_size == RunConfig().batch_size


@pytest.mark.parametrize(
    ("flag", "value", "wanted"),
    [
        ("rounds", "-1", "greater than or equal to 0"),
        ("local_epochs", "-1", "greater than or equal to 0"),
        ("site_folds", "-2", "greater than or equal to -1"),
        ("rounds", "many", "valid integer"),
        ("clients", "0", "greater than or equal to 1"),
        ("local_epochs", "1.5", "valid integer"),
        ("lr", "-1", "greater than or equal to 0"),
        ("alpha", "-3", "greater than 0"),
        ("fraction", "1.1", "less than or equal to 1"),
        ("seed", "-1", "greater than or equal to 0"),
        ("task", "rythm", "'rhythm', 'beat'"),
        ("engine", "spark", "'ray'"),
    ],
)
def test_a_bad_value_is_named_with_its_flag_and_what_is_accepted(flag, value, wanted):
    with pytest.raises(ConfigError) as error:
        load_config({flag: value})
    assert str(error.value).startswith(f"--{flag.replace('_', '-')} is '{value}': ")
    assert wanted in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("flag", ["lr", "alpha", "mu", "weight_decay", "timeout"])
@pytest.mark.parametrize("value", ["inf", "nan"])
def test_numbers_without_a_value_are_refused(flag, value):
    with pytest.raises(ConfigError, match=f"--{flag.replace('_', '-')} is"):
        load_config({flag: value})


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("rounds = ", "not valid TOML"),
        ("ruonds = 3", "unknown key ruonds. Did you mean rounds?"),
        ("xyz = 3", "unknown key xyz. Known keys: alpha"),
        ("rounds = 'x'", "--rounds is 'x'"),
    ],
)
def test_a_bad_file_is_named_with_its_trouble(toml, text, wanted):
    with pytest.raises(ConfigError) as error:
        load_config({}, toml(text))
    assert wanted in str(error.value)
    assert "\n" not in str(error.value)


def test_the_example_file_is_valid_and_every_key_of_it_is_used():
    file = ROOT / "example.toml"
    config = load_config({}, file)
    for key, value in tomllib.loads(file.read_text()).items():
        assert getattr(config, key.replace("-", "_")) == value


def test_the_keys_of_run_json_are_flat_and_in_the_order_of_the_sections():
    names = [name for section in SECTIONS for name in section.model_fields]
    assert list(RunConfig().model_dump()) == list(RunConfig.model_fields) == names
    assert len(names) == len(set(names))


def test_a_function_of_one_section_takes_the_whole_configuration():
    config = RunConfig(skew="noise,gain")
    assert isinstance(config, PartitionSettings)
    assert PartitionSettings(skew="noise,gain").skews == config.skews == ("noise", "gain")


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config({}, tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config({}, tmp_path)
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config({}, tmp_path / "x.toml")


def test_an_unknown_name_of_a_table_is_answered_with_the_known_ones():
    require_known("b", {"b": 1}, "--model")
    with pytest.raises(ConfigError, match=r"--model is 'x'\. Known: a, b\."):
        require_known("x", {"b": 1, "a": 2}, "--model")


def test_a_remedy_for_beats_is_refused_for_rhythm_in_one_line():
    with pytest.raises(ConfigError) as error:
        load_config({"imbalance": "thinned"})
    assert str(error.value).startswith("--imbalance is 'thinned', which is for beats alone")


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"compare": "fedavg, scaffold,fedavg"}, ("fedavg", "scaffold")),
        ({"compare": "fedprox"}, ("fedprox",)),
        ({"compare": "fedavg,fedprox", "strategy": "fedbn"}, ("fedavg", "fedprox", "fedbn")),
        ({"strategy": "krum"}, ("krum",)),
    ],
)
def test_a_comparison_has_each_strategy_once_and_the_one_asked_for(given, names):
    config = load_config(given)
    assert config.strategies == names
    assert config.strategy == names[0]
    assert RunConfig(**config.model_dump()) == config


def test_each_strategy_of_a_comparison_has_its_own_learning_rate_unless_one_is_given():
    own = load_config({"compare": "fedavg,scaffold"})
    assert [own.for_strategy(name).lr for name in own.strategies] == [2e-3, 0.05]
    one = load_config({"compare": "fedavg,scaffold", "lr": 0.01})
    assert [one.for_strategy(name).lr for name in one.strategies] == [0.01, 0.01]
    alone = RunConfig(strategy="scaffold", rounds=3)
    compared = load_config({"compare": "fedavg,scaffold", "rounds": 3})
    assert compared.for_strategy("scaffold") == alone


def test_each_seed_has_the_settings_of_a_run_of_its_own():
    config = load_config({"seeds": "0, 3,2", "compare": "fedavg", "rounds": 4})
    assert config.each_seed == (0, 3, 2)
    assert config.for_seed(3) == load_config({"seed": 3, "compare": "fedavg", "rounds": 4})


@pytest.mark.parametrize("value", ["0,0", "a", "1,", "-1", "1.5", " "])
def test_seeds_are_different_whole_numbers(value):
    with pytest.raises(ConfigError, match=r"^--seeds is .*e\.g\. 0,1,2\.$"):
        load_config({"seeds": value})


def test_one_seed_or_several_and_a_flag_wins_over_the_file(toml):
    with pytest.raises(ConfigError, match="--seed is 1 and --seeds is 0,1: give one of them"):
        load_config({"seed": "1", "seeds": "0,1"})
    assert load_config({"seeds": "4,5"}, toml("seed = 7")).each_seed == (4, 5)
    assert load_config({"seed": 4}, toml('seeds = "1,2"')).each_seed == ()


def test_each_fold_has_the_settings_of_a_run_of_its_own():
    config = load_config({"site_folds": "3", "seeds": "4,5", "rounds": 4})
    assert config.each_fold == (1, 2, 3)
    one = config.for_seed(5).for_fold(2)
    assert one == load_config({"site_folds": 3, "site_fold": 2, "seed": 5, "rounds": 4})
    assert one.each_fold == load_config({}).each_fold == ()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"site_folds": 1}, "--site-folds is 1: .* Accepted: 2 or more, or 0 for none"),
        ({"site_folds": 3, "site_fold": 4}, "--site-fold is 4, but --site-folds is 3"),
        ({"site_fold": 1}, "--site-fold is 1, but --site-folds is 0"),
        ({"site_fold": 4, "task": "beat"}, "--site-fold is 4, but --site-folds is 3"),
    ],
)
def test_folds_that_cannot_be_are_refused(given, words):
    with pytest.raises(ConfigError, match=words):
        load_config(given)


def test_a_comparison_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="--compare is ','"):
        load_config({"compare": ","})


def test_a_runs_own_settings_can_be_read_again():
    made = load_config({"seed": 3, "clients": 5})
    assert load_config(made.model_dump()) == made


def test_sgd_has_a_rate_of_its_own_and_momentum_is_its_alone():
    assert RunConfig(optimizer="sgd", momentum=0.9).lr == 0.05
    with pytest.raises(ConfigError, match=r"--momentum is 0\.9, which is for --optimizer sgd"):
        load_config({"momentum": 0.9})


def test_local_and_pooled_training_have_their_own_rate_where_it_is_given():
    config = load_config({"compare": "fedavg", "lr": 0.002, "lr_pooled": 0.004})
    rates = [config.for_baseline(name).lr for name in ("local", "pooled")]
    assert rates == [0.002, 0.004]
    assert config.for_strategy("fedavg") == config.for_baseline("local")


@pytest.mark.parametrize("name", ["lr_local", "lr_pooled"])
def test_a_rate_of_a_training_that_is_not_run_is_refused(name):
    with pytest.raises(ConfigError, match=f"--{name.replace('_', '-')} is 0.1, but there is no"):
        load_config({name: 0.1})


def test_no_more_rounds_are_averaged_than_there_are():
    with pytest.raises(ConfigError, match="--average-rounds is 5, but --rounds is 3: give at most"):
        load_config({"rounds": 3, "average_rounds": 5})
