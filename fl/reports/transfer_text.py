"""What is reported of a run that started from a saved model: console, page and card."""

from pathlib import Path

from fl.runs.run_facts import TransferFacts

FEW = 4  # entries that are named on the console; run.json and the page name all


def transfer_line(facts: TransferFacts) -> str:
    """All of it in one line, with the first fresh entries by name."""
    return f"Transfer: {' '.join(transfer_sentences(facts, FEW))}"


def transfer_sentences(facts: TransferFacts, most: int = 1000) -> list[str]:
    """Which model it was, what was taken, fresh and frozen, and whom of the test it knows."""
    name = Path(facts.file).name
    known = "synthetic recordings" if facts.synthetic else "recordings"
    sentences = [
        f"Training started from {name}: network {facts.model}, task {facts.task}, trained by "
        f"{facts.strategy} on {known}, SHA-256 {facts.sha256}.",
        f"{facts.taken} of {facts.taken + len(facts.fresh)} entries were taken.",
    ]
    if facts.fresh:
        sentences.append(f"Fresh, because {facts.why_fresh}: {_named(facts.fresh, most)}.")
    if facts.unused:
        sentences.append(f"Of no use here: {_named(facts.unused, most)}.")
    if facts.frozen:
        sentences.append(
            f"{facts.frozen} entries stay as they were taken (--freeze {facts.freeze})."
        )
    return [*sentences, _patients(facts)]


def _patients(facts: TransferFacts) -> str:
    if facts.seen_patients is None:
        return "Whether that model was trained on patients tested here is not known."
    return (
        f"Of the {facts.test_patients} patients tested here, {facts.seen_patients} were among "
        "those that trained or validated that model"
        + (": the figures of their records are optimistic." if facts.seen_patients else ".")
    )


def _named(entries: tuple[str, ...], most: int) -> str:
    more = len(entries) - most
    return ", ".join(entries[:most]) + (f" and {more} more" if more > 0 else "")
