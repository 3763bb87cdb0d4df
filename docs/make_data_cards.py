"""Write the data cards and the counts into docs/data.md.

python docs/make_data_cards.py                    # the cards, from the table of data sets
python docs/make_data_cards.py --data-dir DATA    # also the counts of the recordings in DATA
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from fl.datasets import DATASETS
from fl.datasets.base import Card
from fl.datasets.data_report import CheckReport, SourceReport, check
from fl.datasets.mitdb import MITDB
from fl.datasets.readers.wfdb_access import symbol_meanings
from fl.ecg.labels import BEAT_CLASSES, RHYTHM_CLASSES
from fl.ecg.records import LEADS
from fl.ecg.tasks import BEAT, MI, RHYTHM, Task
from fl.util.atomic_io import write_atomically
from fl.util.errors import UnusableRecord

PAGE = Path(__file__).with_name("data.md")


def cards() -> str:
    """One section per data set."""
    return "\n".join(card(source.card) for source in DATASETS.values())


def card(facts: Card) -> str:
    """A data set's facts as a table of two columns."""
    classes = ", ".join(facts.annotates)
    masked = ", ".join(c for c in RHYTHM_CLASSES if c not in facts.annotates)
    leads = "all twelve" if facts.leads == LEADS else ", ".join(facts.leads)
    unit = facts.unit if facts.unit == "mV" else f"{facts.unit}: each record's own peak is 1"
    without = "heartbeats alone" if facts.lead_two else "none of the nine"
    annotated = f"{classes}; masked: {masked or 'none'}" if classes else without
    rows = {
        "leads, rate, unit": f"{leads}; {' or '.join(f'{r:g}' for r in facts.rates)} Hz; {unit}",
        **({"lead II in the beat tasks": facts.lead_two} if facts.lead_two else {}),
        **({"signal": facts.signal} if facts.signal else {}),
        "classes annotated": annotated,
        "labels": facts.mapping,
        **({"infarction": facts.infarction} if facts.infarction else {}),
        "patients": facts.patients,
        "licence": facts.licence,
        "cite": facts.citation,
        "page": f"<{facts.url}>" if facts.url else "none",
    }
    lines = (f"| {key} | {text.replace('|', chr(92) + '|')} |" for key, text in rows.items())
    return "\n".join((f"### `{facts.name}`: {facts.title}\n", "| | |", "| --- | --- |", *lines, ""))


def counts(
    report: CheckReport, beat_report: CheckReport, infarction_report: CheckReport, root: Path
) -> str:
    """The results of `check` for each task, and the windows of MIT-BIH."""
    labels = table(
        ("records that show", *RHYTHM_CLASSES),
        ((s.name, *map(shown(s), RHYTHM_CLASSES)) for s in report.sources if s.classes),
    )
    copies = table(
        ("recording", "has the signal of"),
        ((f"{s.name}/{n}", first) for s in report.sources for n, first in s.duplicates.items()),
    )
    parts = [used(report, RHYTHM), labels, copies]
    parts += [used(beat_report, BEAT), beats(beat_report), codes_without_class(beat_report)]
    parts += [used(infarction_report, MI), infarctions(infarction_report)]
    parts += [windows(root) for s in report.sources if s.name == "mitdb"]
    return "\n".join(parts)


def used(report: CheckReport, task: Task) -> str:
    """How many records and patients of each source are used, and which are not, and why."""
    return table(
        (
            *(f"`--task {task.name}`", "records", "used", "of these none of the classes"),
            *("patients", "left out, by verdict", "cannot say", "without a lead"),
        ),
        (
            (
                *(s.name, s.records, s.usable, none(s), s.patients),
                *(by_reason(s.unusable), by_reason(s.cannot_say), lacking(s)),
            )
            for s in report.sources
        ),
    )


def none(source: SourceReport) -> object:
    """How many used records are known negatives; empty where windows are labelled instead."""
    return source.none_of_the_classes if source.classes else ""


def by_reason(records: dict[str, list[str]]) -> str:
    """`3 duplicate (00457 00460 00463), 144 no-label`"""
    return ", ".join(
        f"{len(names)} {reason}" + (f" ({' '.join(names)})" if len(names) <= 5 else "")
        for reason, names in sorted(records.items())
    )


def lacking(source: SourceReport) -> str:
    """`II: 102 104`, or the number of records if they are more than five."""
    return ", ".join(
        f"{lead}: {' '.join(names) if len(names) <= 5 else len(names)}"
        for lead in LEADS
        if (names := source.missing_leads.get(lead))
    )


def shown(source: SourceReport) -> Callable[[str], object]:
    """How many records show a class; `masked` if the source does not annotate it."""

    def cell(label: str) -> object:
        counts = source.classes[label]
        return counts["yes"] if counts["yes"] + counts["no"] else "masked"

    return cell


def beats(report: CheckReport) -> str:
    """The beats of each class in each source, and the patients who have any."""
    columns = (*BEAT_CLASSES, "all")
    rows = (
        (
            *(s.name, s.lead_two, name),
            *(f"{beats:,} ({patients:,})" for beats, patients in counts.rows().values()),
        )
        for s in report.sources
        for name, counts in sorted(s.beats.items())
    )
    head = ("beats (patients who have any)", "lead II is", "set of records", *columns)
    return table(head, rows)


def infarctions(report: CheckReport) -> str:
    """How many used records have an infarction and how many have none, and beats left out."""
    head = ("records with", "infarction", "none", "beats found without a whole cut")
    rows = (
        (s.name, s.infarctions.get("yes", 0), s.infarctions.get("no", 0), s.without_example)
        for s in report.sources
    )
    return table(head, rows)


def codes_without_class(report: CheckReport) -> str:
    """How often each annotation code occurs that is no beat of a class."""
    meanings = symbol_meanings()
    rows = (
        (s.name, f"`{code.replace('|', chr(92) + '|')}`", meanings[code], n)
        for s in report.sources
        for code, n in sorted(s.codes_without_class.items(), key=lambda item: (-item[1], item[0]))
    )
    return table(("annotations without a class", "code", "meaning", "number"), rows)


def windows(root: Path) -> str:
    """The number of 10 s windows of MIT-BIH, and of those that show each class."""
    labels = np.concatenate(list(_window_labels(root)))
    shows = [int((labels[:, i] == 1).sum()) for i in range(len(RHYTHM_CLASSES))]
    # MIT-BIH annotates a class in all windows or in none.
    cells = [n if labels[0, i] >= 0 else "masked" for i, n in enumerate(shows)]
    return table(("windows of MIT-BIH", *RHYTHM_CLASSES), [(f"{len(labels):,}", *cells)])


def _window_labels(root: Path) -> Iterator[np.ndarray]:
    for name in MITDB.record_names(root):
        try:
            yield RHYTHM.make_examples(MITDB.read(root, name)).labels
        except UnusableRecord:
            continue


def table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table; numbers have a separator for thousands."""
    names = list(head)

    def line(cells: Iterable[object]) -> str:
        return f"| {' | '.join(f'{c:,}' if isinstance(c, int) else str(c) for c in cells)} |"

    return "\n".join([line(names), line(["---"] * len(names)), *map(line, rows), ""])


def replaced(page: str, mark: str, content: str) -> str:
    """The page with the text between two marks replaced; `ValueError` if there are no marks."""
    begin, end = f"<!-- {mark}: docs/make_data_cards.py -->\n", f"<!-- end of {mark} -->\n"
    before, _, rest = page.partition(begin)
    _, end_mark, after = rest.partition(end)
    if not end_mark:
        raise ValueError(f"{PAGE}: the marks of {mark} are missing. Restore both marks.")
    return f"{before}{begin}\n{content}\n{end}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-dir", type=Path)
    root = parser.parse_args().data_dir
    page = replaced(PAGE.read_text(), "cards", cards())
    if root is not None:
        sources = [s for s in DATASETS.values() if not s.card.synthetic and s.exists(root)]
        rhythm, beat, infarction = (
            check([s for s in sources if usable(s.card)], root, task=task)
            for task, usable in (
                (RHYTHM, lambda c: c.annotates),
                (BEAT, lambda c: c.lead_two),
                (MI, lambda c: c.infarction),
            )
        )
        page = replaced(page, "counts", counts(rhythm, beat, infarction, root))
    write_atomically(PAGE, page.encode())


if __name__ == "__main__":
    main()
