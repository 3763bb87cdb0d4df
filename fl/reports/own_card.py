"""The model card of a hospital's own model, beside its weights."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fl.config.run_config import NOT_FEDERATED
from fl.ecg.tasks import TASKS
from fl.evaluation.group_evaluation import GroupMeasures
from fl.reports.run_files import Run
from fl.reports.templates import render
from fl.reports.terminal.notices import simulated_note
from fl.training.saved_weights import sidecar_of
from fl.util.atomic_io import write_atomically

WEIGHTS = "weights"  # folder of a run directory


@dataclass(frozen=True, kw_only=True)
class OwnModelFile:
    """One hospital's own model of one strategy."""

    path: Path  # of the weights
    strategy: str
    site: str
    facts: Mapping[str, Any]  # the content of the file beside the weights

    @classmethod
    def at(cls, path: Path) -> "OwnModelFile":
        """The model whose weights are in this file."""
        facts = json.loads(sidecar_of(path).read_text(encoding="utf-8"))
        site = str(facts.get("site", ""))
        strategy = str(facts["strategy"]).removesuffix(f"-{site}")
        return cls(path=path, strategy=strategy, site=site, facts=facts)


def own_models(folder: Path, strategies: Sequence[str]) -> Iterator[OwnModelFile]:
    """Every hospital's own model in a run directory, of these strategies, in order of name."""
    for path in sorted((folder / WEIGHTS).glob("*.safetensors")):
        if path.name.endswith(("-best.safetensors", "-last.safetensors")):
            continue
        if sidecar_of(path).is_file():
            found = OwnModelFile.at(path)
            if found.site and found.strategy in strategies:
                yield found


def write_own_cards(run: Run) -> None:
    """`weights/<strategy>-<site>.md` for every hospital's own model in the run directory."""
    for model in own_models(run.folder, tuple(run.strategies)):
        measures = run.strategies[model.strategy].sites.get(model.site)
        write_own_card(model, [("its own test records", measures)] if measures else [])


def write_own_card(model: OwnModelFile, groups: Sequence[tuple[str, GroupMeasures]]) -> Path:
    """Write the card beside the weights; `groups` are the test records it was measured on."""
    facts = model.facts
    origin = "pooled training" if model.strategy in NOT_FEDERATED else "the federation"
    text = render(
        "own_card.md",
        model=model,
        origin=f"{origin}'s model",
        facts=facts,
        task=TASKS[facts["task"]],
        groups=groups,
        sidecar=sidecar_of(model.path).name,
        simulated_note=simulated_note(int(facts.get("simulated_rare", 0))),
    )
    path = sidecar_of(model.path).with_suffix(".md")
    write_atomically(path, text.encode())
    return path
