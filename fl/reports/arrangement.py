"""Draws a run's test examples as its network arranges them, and keeps the picture in the run."""

from pathlib import Path

from fl.evaluation.strategy_names import strategy_name
from fl.explain.embedding import Arrangement, arrange, read_arrangement, write_arrangement
from fl.explain.run_networks import RunNetworks, network_or_error
from fl.explain.tested_examples import tested_examples
from fl.reports.figures.embedding_chart import embedding_chart
from fl.reports.figures.svg import Drawing
from fl.reports.run_files import is_repeated, read_run
from fl.reports.units import unit_of, units
from fl.util.atomic_io import write_atomically
from fl.util.errors import ConfigError

SVG = Path("report") / "embedding.svg"
SITES_OWN = "Sites' simulated recorders are left out: recordings are as their sources have them."


def arrange_run(folder: Path, points: int, perplexity: float | None, seed: int) -> list[Path]:
    """Draw a run's test examples and write picture and coordinates into its report; the paths.

    Of a run over folds, those of the first fold's model. `perplexity` as of `arrange`. Raises
    ConfigError or DataError if the run has no weights or its recordings are not where they were.
    """
    if is_repeated(folder):
        raise ConfigError(f"{folder}: is a parent of seeds. Name one of them: {folder / 'seed-0'}")
    run = read_run(folder)
    fold = "1" if run.folds else ""
    network = network_or_error(RunNetworks(folder, run.config, run.main), fold)
    cohort, sites = tested_examples(folder / f"fold-{fold}" if fold else folder, run.facts)
    notes = [SITES_OWN] if run.facts.devices else []
    if fold:
        notes.append(f"The model and test patients of the first of {run.folds} folds.")
    by_source = units(run.task, run.facts.data)
    found = arrange(
        network,
        cohort,
        sites,
        model=str(run.config["model"]),
        strategy=strategy_name(run.main),
        unit=unit_of(run.task, by_source, by_source),
        synthetic=bool(run.synthetic),
        points=points,
        perplexity=perplexity,
        seed=seed,
        note=" ".join(notes),
    )
    return keep_arrangement(folder, found)


def keep_arrangement(folder: Path, found: Arrangement) -> list[Path]:
    """Write coordinates and picture into report/ of a run directory; their paths."""
    written = write_arrangement(folder, found)
    header = '<?xml version="1.0" encoding="utf-8"?>\n'
    drawing = embedding_chart(found, caption_inside=True)
    write_atomically(folder / SVG, (header + str(drawing.svg)).encode())
    return [folder / SVG, *written]


def arrangement_drawing(folder: Path) -> Drawing | None:
    """The picture for a page; None if none was drawn."""
    found = read_arrangement(folder)
    return None if found is None else embedding_chart(found)
