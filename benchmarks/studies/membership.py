"""What an attacker learns from finished simulations: the tables of docs/privacy.md.

    python -m benchmarks.studies.membership --runs RUN [--runs RUN ...] [--shadows 8] [--round K]

Each run is attacked as by `heartfed runs attack`, which writes attack.json into its directory; an
attack.json that is there is taken as it is, unless --again is given. Membership inference by loss
threshold and by shadow models (LiRA), by patient, on the final model, on one round's update of each
hospital and on the sum of all updates; and a recording computed back from one gradient. The
patients that count as non-members are the hospitals' validation and test patients: nothing is
chosen on them.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import fl  # noqa: F401  (first: it turns telemetry off before flwr is imported)
from benchmarks.common.results_store import (
    FOLDER_OPTIONS,
    command,
    machine_description,
    put_between_marks,
)
from fl.privacy.attacks.attack_report import AttackReport, write_attack
from fl.reports.attack_text import (
    counting,
    hidden,
    inversion_sentences,
    places,
    read_attack,
    shadow_sentences,
)
from fl.reports.number_format import decimal, estimate
from fl.runs.run_facts import RunFacts, read_run_facts
from heartfed.attack.attacked_run import open_run
from heartfed.attack.measure_run import AttackSettings, measure_run

MARKS = "membership"


def tables(how: str, report: AttackReport) -> Iterator[str]:
    """The tables of one run, made by the command `how`: all hospitals, the smallest, inversion."""
    data = "SYNTHETIC: " if report.synthetic else ""
    yield f"### `{how}`"
    yield ""
    yield (
        f"{data}Task {report.task}, {report.model}, {report.strategy}, updates of round "
        f"{report.round} of {report.rounds}. Attacked by `{attacked_by(report)}`."
    )
    for site, heading in places(report):
        yield ""
        yield f"{heading[0].upper()}{heading[1:]}:"
        yield ""
        yield "| attacked | by | members | others | AUC | TPR at 1% FPR | epsilon at least |"
        yield "| --- | --- | --- | --- | --- | --- | --- |"
        for row in report.rows_at(site):
            found = row.success
            bound = decimal(found.epsilon)
            if found.epsilon_limit is not None:
                bound += f" (of at most {decimal(found.epsilon_limit)})"
            yield (
                f"| {row.target} | {row.attack} | {found.members} | {found.non_members} | "
                f"{estimate(found.auc)} | {estimate(found.tpr)} | {bound} |"
            )
    for sentence in [*hidden(report), *shadow_sentences(report)]:
        yield ""
        yield sentence
    if report.inversion is not None:
        yield ""
        yield "| lead | recordings | correlation | at its best shift | others, at theirs |"
        yield "| --- | --- | --- | --- | --- |"
        for lead, match in report.inversion.leads.items():
            values = (match.correlation, match.shifted, match.shifted_other)
            yield f"| {lead} | {match.recordings} | {' | '.join(map(decimal, values))} |"
        yield ""
        yield from inversion_sentences(report.inversion)
    if report.not_measured:
        yield ""
        yield f"Not measured: {'; '.join(report.not_measured)}."


def attacked_by(report: AttackReport) -> str:
    """The command that attacks a run with these settings."""
    flags = [f"--round {report.round}"]
    if report.shadows is None:
        flags.append("--shadows 0")
    else:
        used = report.shadows
        flags += [f"--shadows {used.models}", f"--shadow-epochs {used.epochs}"]
        flags += [f"--shadow-model {used.network}"] if used.network != report.model else []
    flags.append(f"--inversions {report.inversion.recordings if report.inversion else 0}")
    return f"heartfed runs attack RUN {' '.join(flags)}"


def made_by(facts: RunFacts) -> str:
    """A run's command without the folders and the name that it has on this machine."""
    words, kept = iter(facts.command), []
    for word in words:
        if word in (*FOLDER_OPTIONS, "--name"):
            next(words, None)
        elif word not in ("--quiet", "--no-pages"):
            kept.append(Path(word).name if word.endswith("run_sim.py") else word)
    return " ".join(kept)


def main() -> None:
    """Attack the runs that are not attacked yet, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument(
        "--runs", action="append", required=True, type=Path, metavar="RUN", help="run directory"
    )
    parser.add_argument("--round", type=int, default=0)
    parser.add_argument("--shadows", type=int, default=8)
    parser.add_argument("--shadow-model", default="")
    parser.add_argument("--shadow-epochs", type=int, default=0)
    parser.add_argument("--again", action="store_true", help="also runs that have an attack.json")
    parser.add_argument("--results", type=Path, default=Path("docs/privacy.md"))
    options = parser.parse_args()
    settings = AttackSettings(
        round=options.round,
        shadows=options.shadows,
        shadow_model=options.shadow_model,
        shadow_epochs=options.shadow_epochs,
    )
    lines: list[str] = []
    reports: list[AttackReport] = []
    for folder in options.runs:
        report = read_attack(folder)
        if options.again or report is None:
            report = measure_run(
                open_run(folder), settings, lambda line: print(line, file=sys.stderr, flush=True)
            )
            write_attack(folder, report)
        reports.append(report)
        lines += [*tables(made_by(read_run_facts(folder)), report), ""]
    lines += ["### How to read them", ""]
    lines += [line for report in reports[:1] for text in counting(report) for line in (text, "")]
    note = f"Made by `{command('studies.membership', data=False)}` on {machine_description('cpu')}."
    text = "\n".join([*lines, note])
    print(text)
    put_between_marks(options.results, MARKS, text)


if __name__ == "__main__":
    main()
