"""A hospital that has only a model file makes a model of its own from it, on its own recordings."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clients.deploy.deployed_site import site_cohort, site_partition
from clients.deploy.site_settings import SiteSettings
from clients.local_evaluation import rule_of_own_model
from clients.local_objectives import LOCAL_OBJECTIVES
from clients.personalization.map_head import FOLDS
from clients.personalization.own_model_file import any_synthetic, own_patients, save_own_model
from clients.simulated_sites import Site
from fl.config.config_file import load_config
from fl.config.run_config import RunConfig
from fl.config.strategy_traits import trains_as
from fl.data.cohort import Cohort
from fl.evaluation.bootstrap import MIN_INTERVAL_PATIENTS
from fl.evaluation.decisions.decision_rule import DecisionRule, answer
from fl.evaluation.group_evaluation import GroupMeasures, evaluate_predicted
from fl.evaluation.predictions import Predictions
from fl.evaluation.strategy_comparison import MeasuredTrainings, differences
from fl.messages.job import Job
from fl.predict.saved_model import SavedModel, load_model
from fl.reports.number_format import estimate
from fl.reports.own_card import OwnModelFile, write_own_card
from fl.reports.terminal.notices import NOTICE
from fl.training.loop import predict
from fl.training.saved_weights import own_model_name, saved_facts, trained_sources
from fl.util.errors import ConfigError, DataError
from partitions.splits import TEST, TRAIN, VAL

SEED = 0  # of the split of the hospital's patients


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What one model answers for the hospital's test patients, and how well."""

    measures: GroupMeasures
    predictions: Predictions


def personalize(options: argparse.Namespace) -> int:
    """Split the hospital's patients, make its own model, and print what that changes for others."""
    model = load_model(options.weights, options.task)
    config = _config(options, model)
    site = _site(options, model)
    job = Job(config=config, strategy=options.method)
    general = trains_as(options.method) if model.strategy == options.method else model.strategy
    before = _answers(site, model, model.rule, general)
    own = LOCAL_OBJECTIVES[options.method].before_test(model.network, site, job)
    rule = rule_of_own_model(model.rule, site, own, config.device)
    changed = SavedModel(**vars(model) | {"network": own.network})
    after = _answers(site, changed, rule, options.method)
    facts = saved_facts(options.weights, "--weights")
    before_it, earlier = trained_sources(facts)
    path = save_own_model(
        options.out / f"own-{options.method}.safetensors",
        own,
        rule,
        task=config.task,
        model=config.model,
        strategy=own_model_name(options.method, site.name),
        best_round=facts.get("best_round"),
        synthetic=model.synthetic or any_synthetic(site.splits[TEST].sources.tolist()),
        simulated_rare=model.simulated_rare,
        sources={*site.splits[TRAIN].sources.tolist(), *before_it, *earlier},
        site=site.name,
        patients=own_patients(site),
    )
    written = OwnModelFile.at(path)
    write_own_card(written, [("its own test records", after.measures)])
    for line in _report(site, before, after, own.note):
        print(line)
    if written.facts["synthetic"]:
        print(NOTICE)
    print(f"Written: {path}, with its decision rule and its card beside it. They stay here.")
    print(f"Use: python -m fl.predict --weights {path} --source {_sources(site)[0]} RECORD")
    return 0


def _config(options: argparse.Namespace, model: SavedModel) -> RunConfig:
    """The settings with which the hospital's own model is made: the usual ones of the task."""
    chosen = {"data": "real", "data_dir": options.data_dir, "sources": options.sources}
    chosen |= {"task": model.task.name, "model": model.name, "device": options.device}
    chosen |= {"ignore_checksums": options.ignore_checksums}
    return load_config(chosen | {"strategy": options.method, "seed": SEED})


def _site(options: argparse.Namespace, model: SavedModel) -> Site:
    """The hospital with its patients split; a mistake in one line where they cannot be used."""
    if not Path(options.data_dir).is_dir():
        raise ConfigError(f"--data-dir {options.data_dir}: is no folder.")
    try:
        options.out.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(f"--out {options.out}: cannot be made ({error.strerror}).") from None
    settings = SiteSettings(
        site=options.site,
        data_dir=str(Path(options.data_dir).absolute()),
        folder=str(options.out.absolute()),
        task=model.task.name,
        sources=options.sources,
        cache_dir=options.cache_dir,
        min_count=1,
        device=options.device,
        ignore_checksums=options.ignore_checksums,
    )
    cohort = site_cohort(settings, options.workers)
    _check_labels(cohort, options.data_dir)
    n_patients = cohort.n_patients
    partition = site_partition(settings, SEED)
    splits = {s: cohort.take(partition.rows(settings.site, s)) for s in (TRAIN, VAL, TEST)}
    fitted = sum(own_patients(Site(name="", splits=splits, folder=options.out)).values())
    if fitted < FOLDS or not len(splits[TEST]):
        raise DataError(
            f"{options.data_dir}: {n_patients} patients, of whom {fitted} could make the "
            f"hospital's own model; at least {FOLDS} are needed beside those who test it. Add "
            "recordings of more patients, or use the model as it is."
        )
    return Site(name=settings.site, splits=splits, folder=options.out)


def _check_labels(cohort: Cohort, data_dir: str) -> None:
    """`DataError` if no class of the task is shown by some patient and absent in another."""
    task, labels = cohort.task, cohort.labels
    used = np.isin(task.classes, task.trainable)
    counts = [cohort.count_patients(labels == value) for value in (1, 0)]
    if not (used & (counts[0] > 0) & (counts[1] > 0)).any():
        raise DataError(
            f"{data_dir}: the model answers the {task.name} task ({', '.join(task.trainable)}), "
            "and no class of it is annotated as present in one patient and absent in another. "
            "Annotate these classes, or name a model of another task."
        )


def _answers(site: Site, model: SavedModel, rule: DecisionRule, name: str) -> Answers:
    test = site.splits[TEST]
    raw = predict(model.network, test)
    p, decided = answer(rule, raw, test.sources, test.task.classes)
    return Answers(
        measures=evaluate_predicted(test, p, decided, SEED),
        predictions=Predictions.of_cohort(
            test, p, decided, strategy=name, site=site.name, split=TEST
        ),
    )


def _report(site: Site, before: Answers, after: Answers, note: str) -> Iterator[str]:
    """What the hospital's own model changes, on patients who had no part in it."""
    n = own_patients(site)
    n_test = before.measures.n_patients
    yield (
        f"{site.name}: {n[TRAIN]} training and {n[VAL]} validation patients made the model; "
        f"{n_test} other patients test it."
    )
    if note:
        yield f"{note[:1].upper()}{note[1:]}; calibration and thresholds are the hospital's own."
    for title, metric in (("macro-AUROC", "macro_auroc"), ("macro-F1", "macro_f1")):
        one, other = (estimate(found.measures.estimate(metric)) for found in (before, after))
        yield f"{title:12} before {one}, after {other}"
    if n_test < MIN_INTERVAL_PATIENTS:
        yield f"{n_test} test patients are too few for an interval ({MIN_INTERVAL_PATIENTS})."
    parts = [before.predictions, after.predictions]
    task = site.splits[TEST].task
    measured = MeasuredTrainings(parts, SEED, task.trainable)
    names: list[NDArray[np.str_]] = [part.strategy[:1] for part in parts]
    for row in differences(measured, str(names[1][0]), str(names[0][0])):
        if row.site is not None:
            yield row.sentence


def _sources(site: Site) -> list[str]:
    return sorted(set(site.splits[TEST].sources.tolist()))
