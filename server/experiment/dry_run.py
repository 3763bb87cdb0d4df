"""What a run would do: its settings, sources, sites and time. Nothing is trained or written."""

import json
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from fl.config.run_config import RunConfig, checked
from fl.config.run_options import RunOptions
from fl.config.sections import SECTIONS
from fl.data.example_cache import default_cache_dir, find_prepared
from fl.datasets.source_selection import SourceSelection
from fl.ecg.tasks import TASKS
from fl.reports.number_format import duration
from fl.reports.terminal.notices import synthetic_notice
from fl.reports.terminal.partition_tables import fold_lines
from fl.reports.terminal.progress import PreprocessingProgress
from fl.training.device import check_device
from fl.training.loop import TrainingPlan
from fl.util.cores import available_cores
from partitions.folds import smaller_than_folds
from server.experiment.estimate import (
    SourceSample,
    Speed,
    Workload,
    expected_workload,
    measure_speed,
    sample_source,
    training_seconds,
    workers_of,
    workload_of,
)
from server.experiment.prepare import PreparedRun, prepare
from server.experiment.run import print_sites
from server.rounds.initial_weights import read_origin

SHORT = 20.0  # seconds; preprocessing that takes less is done, so that the sites can be shown


def dry_run(
    config: RunConfig,
    options: RunOptions,
    selection: SourceSelection,
    plan: TrainingPlan,
    console: Console,
) -> None:
    """Show what the run would do. `plan` is how a site trains in its first round."""
    check_device(config.device)
    read_origin(config)
    console.print("\n".join(settings_lines(config)))
    if selection.synthetic:
        console.print(synthetic_notice(selection.synthetic))
    cache = options.cache_dir or default_cache_dir()
    unprepared = _samples_of_unprepared(config, selection, cache)
    seconds = sum(s.seconds for s in unprepared.values()) / (config.workers or available_cores())
    if seconds < SHORT:
        with PreprocessingProgress(console, options.quiet) as steps:
            prepared = prepare(config, selection, cache, steps.step)
        work = _show_prepared(config, prepared, console)
    else:
        work = _show_expected(config, selection, unprepared, seconds, console)
    console.print(time_text(config, work, measure_speed(config, plan)))
    console.print("Dry run: nothing was trained, and no run directory was written.")


def _show_prepared(config: RunConfig, prepared: PreparedRun, console: Console) -> Workload:
    """Sources and sites as they are."""
    for source in prepared.data:
        left_out = sum(len(names) for names in source["excluded"].values())
        console.print(
            f"Source {source['source']}: {source['recordings']} records of {source['patients']} "
            f"patients, {left_out} left out"
        )
    print_sites(console, prepared)
    if config.each_fold:
        small = smaller_than_folds(prepared.sites, config.site_folds)
        console.print(fold_lines({"site_folds": config.site_folds, "smaller_than_folds": small}))
    return workload_of(config, prepared)


def _show_expected(
    config: RunConfig,
    selection: SourceSelection,
    unprepared: Mapping[str, SourceSample],
    seconds: float,
    console: Console,
) -> Workload:
    """Sources as a few of their records show them; the sites are not known yet."""
    samples = {
        name: unprepared[name] if name in unprepared else sample_source(config, source)
        for name, source in selection.sources.items()
    }
    for name, sample in samples.items():
        console.print(f"Source {name}: {sample.records} records")
    console.print(
        f"Sites: {config.clients}. They can be shown once the recordings are preprocessed, which "
        f"takes about {duration(seconds)}; the run does that first and keeps it for later runs."
    )
    return expected_workload(config, [samples[name] for name in selection.sites])


def settings_lines(config: RunConfig) -> list[str]:
    """The settings as a TOML file has them; what differs from the task's defaults is marked."""
    defaults = checked({"task": config.task})
    lines = []
    for section in SECTIONS:
        lines.append(f"# {section.title}")
        for name in section.model_fields:
            value = getattr(config, name)
            mark = "" if value == getattr(defaults, name) else "  # not the default"
            lines.append(f"{name} = {json.dumps(value)}{mark}")
    return lines


def time_text(config: RunConfig, work: Workload, speed: Speed) -> str:
    """The estimate of the time, and what it rests on."""
    workers = workers_of(config, len(work.steps))
    trainings = [
        *config.strategies,
        *(("local", "pooled", *config.after_pooled) if config.compare else ()),
    ]
    repeated = f", each with {len(config.each_seed)} seeds" if config.seeds else ""
    if config.each_fold:
        repeated += f", once for each of {config.site_folds} folds"
    return (
        f"Time: about {duration(training_seconds(config, work, speed))} for {config.rounds} rounds "
        f"of {', '.join(trainings)}{repeated}. This is an estimate: {sum(work.steps):,.0f} "
        f"training steps a round at {1000 * speed.step:.1f} ms each and {sum(work.crops):,.0f} "
        f"crops of recordings to validate at {1000 * speed.crop:.1f} ms each, measured now with "
        f"{config.model} on one core of this machine and shared by {workers} "
        f"{'worker' if workers == 1 else 'workers'}. Start, preprocessing, test, what a site "
        "trains for itself before it, and pages are not in it."
    )


def _samples_of_unprepared(
    config: RunConfig, selection: SourceSelection, cache: Path
) -> Mapping[str, SourceSample]:
    """A sample of each source that the cache does not hold."""
    root, task = Path(config.data_dir), TASKS[config.task]
    return {
        name: sample_source(config, source)
        for name, source in selection.sources.items()
        if find_prepared(source, root, task, cache) is None
    }
