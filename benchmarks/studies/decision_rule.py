"""How the numbers of the decision rule were chosen, from finished runs and without PTB-XL.

    python run_sim.py --clients 8 --compare fedavg --holdout ptbxl --seed 97 --rounds 15 \\
        --loss-weights records --weighting records --name records-97
    python -m benchmarks.studies.decision_rule runs/records-97 ... --data-dir DATA

Every model of a run is applied to the validation records of all sites, and to Georgia and
CPSC-Extra, which no site trains on. Each patient counts once. Two questions are answered:

- How often may a class be predicted? With one source left out in turn, the rule of the others
  decides on its validation records as at a source that nobody trained on (with unchanged odds).
- How rare are findings where nobody trained? The odds with which as many findings are expected at
  Georgia and CPSC-Extra as there are.
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from sklearn.metrics import f1_score, roc_auc_score

from benchmarks.common.results_store import command, put_between_marks
from benchmarks.studies.federated import all_sites, job_of
from benchmarks.studies.rhythm_cv import opened, prepared
from fl.data.cohort import Cohort
from fl.data.example_cache import default_cache_dir
from fl.ecg.tasks import RHYTHM, TASKS
from fl.evaluation.decisions import thresholds
from fl.evaluation.decisions.decision_rule import DecisionRule, answer, choose_rule
from fl.evaluation.decisions.platt_scaling import log_odds, sigmoid
from fl.evaluation.decisions.score_histograms import ScoreHistograms, count_scores
from fl.models import build_network
from fl.reports.number_format import number
from fl.training.loop import predict
from fl.training.state_dict import load_weights, set_weights
from partitions.splits import VAL

ELSEWHERE = ("georgia", "cpsc-extra")
UNCHANGED = replace(RHYTHM, new_source_odds=1.0)  # as many findings at a new source
LIMITS = (1.0, 1.25, 1.5, 2.0, math.inf)  # of MOST_PREDICTED
MIN_PATIENTS = 3  # who show a class that is averaged; few patients are elsewhere


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A model's probabilities (example, class) of some examples."""

    cohort: Cohort
    p: NDArray[np.float64]

    def histograms(self, without: str = "") -> dict[str, ScoreHistograms]:
        """By source, except one."""
        found = {}
        for source in np.unique(self.cohort.sources).tolist():
            rows = np.flatnonzero(self.cohort.sources == source)
            if source != without:
                found[source] = count_scores(
                    self.cohort.labels[rows], self.p[rows], self.cohort.patients[rows]
                )
        return found

    def of(self, source: str) -> "Scored":
        rows = np.flatnonzero(self.cohort.sources == source)
        return Scored(cohort=self.cohort.take(rows), p=self.p[rows])

    def macro(self, rule: DecisionRule) -> tuple[float, float]:
        """Macro-F1 and macro-AUROC of the examples as those of a new source."""
        p, decided = answer(rule, self.p, ["new"] * len(self.p), RHYTHM.classes)
        labels, patient = (
            self.cohort.labels,
            np.unique(self.cohort.patients, return_inverse=True)[1],
        )
        weight = 1 / np.bincount(patient)[patient]
        figures = []
        for c in np.flatnonzero(self.cohort.count_patients(labels == 1) >= MIN_PATIENTS).tolist():
            known = labels[:, c] >= 0
            truth, w = labels[known, c] == 1, weight[known]
            if not truth.all():
                f1 = f1_score(truth, decided[known, c], sample_weight=w)
                figures.append((f1, roc_auc_score(truth, p[known, c], sample_weight=w)))
        f1, auroc = np.mean(figures, axis=0)
        return float(f1), float(auroc)


@dataclass(frozen=True, kw_only=True)
class Model:
    """One set of weights of a run, applied to both groups of records."""

    name: str
    validation: Scored
    elsewhere: Scored


def models_of(run: Path, elsewhere: Cohort) -> Iterator[Model]:
    """The pooled and the federated models of a run with --compare."""
    job = job_of(run)
    cohort = all_sites(job, VAL)
    for training in ("pooled", job.config.strategies[0]):
        network = build_network(job.config.model, TASKS[job.config.task])
        set_weights(network, load_weights(run / "weights" / f"{training}-best.safetensors"))
        yield Model(
            name=f"{run.name}, {training}",
            validation=Scored(cohort=cohort, p=predict(network, cohort)),
            elsewhere=Scored(cohort=elsewhere, p=predict(network, elsewhere)),
        )


def left_out(model: Model) -> list[str]:
    """Macro-F1 on each source that is left out in turn, for each limit: mean over the sources."""
    cells = []
    for limit in LIMITS:
        with patch.object(thresholds, "MOST_PREDICTED", limit):
            f1s = [
                model.validation.of(source).macro(
                    choose_rule(model.validation.histograms(source), UNCHANGED)
                )[0]
                for source in model.validation.histograms()
            ]
        cells.append(number(np.mean(f1s)))
    return cells


def odds_elsewhere(model: Model) -> tuple[float, int, float]:
    """Findings that are expected elsewhere, those that there are, and the odds that fit both."""
    rule = choose_rule(model.validation.histograms(), UNCHANGED)
    p, _ = answer(rule, model.elsewhere.p, ["new"] * len(model.elsewhere.p), RHYTHM.classes)
    findings = [c for c, name in enumerate(RHYTHM.classes) if name != RHYTHM.alone]
    labels = model.elsewhere.cohort.labels[:, findings]
    logits, observed = log_odds(p)[:, findings], int((labels == 1).sum())

    def excess(log: float) -> float:
        return float(sigmoid(logits + log)[labels >= 0].sum()) - observed

    return excess(0.0) + observed, observed, math.exp(brentq(excess, -8.0, 4.0))


def report(models: Sequence[Model]) -> list[str]:
    """Both tables."""
    limits = " | ".join(f"at most {x:g}" if math.isfinite(x) else "no limit" for x in LIMITS)
    lines = [
        f"Made by `{command('studies.decision_rule')}`.",
        "",
        "Macro-F1 on validation records of a source that is left out in turn, by how often a class "
        "may be predicted, as a multiple of how often it is expected (mean over the sources):",
        "",
        f"| model | {limits} |",
        f"| --- |{' --- |' * len(LIMITS)}",
        *(f"| {model.name} | {' | '.join(left_out(model))} |" for model in models),
        "",
        f"At {' and '.join(ELSEWHERE)} ({len(models[0].elsewhere.p)} patients whom no site trained "
        "on): findings other than NSR that are expected there and that there are, the odds with "
        "which both agree, and how well the rule of a run decides there.",
        "",
        "| model | expected | there are | odds | macro-F1 | macro-AUROC |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for model in models:
        expected, observed, odds = odds_elsewhere(model)
        f1, auroc = model.elsewhere.macro(choose_rule(model.validation.histograms(), RHYTHM))
        lines.append(
            f"| {model.name} | {expected:.1f} | {observed} | {number(odds)} | {number(f1)} | "
            f"{number(auroc)} |"
        )
    return lines


def main() -> None:
    """Print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("runs", type=Path, nargs="+", help="run directories with --compare")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--cache-dir", type=Path, default=default_cache_dir())
    parser.add_argument("--results", type=Path, default=Path("docs/results.md"))
    options = parser.parse_args()
    elsewhere = opened(prepared(ELSEWHERE, options.data_dir, options.cache_dir, 1))
    models = [model for run in options.runs for model in models_of(run, elsewhere)]
    text = "\n".join(report(models))
    print(text)
    put_between_marks(options.results, "rule", text)


if __name__ == "__main__":
    main()
