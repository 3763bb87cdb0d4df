"""Pages say what must be known of a strategy whose saved model is not the hospitals'."""

import math

from support import made_runs

from fl.evaluation.strategy_names import STRATEGY_NOTES
from fl.reports.build import write_report
from fl.reports.pages import page_files


def test_both_kinds_of_page_have_the_note_of_a_strategy(copy, monkeypatch):
    monkeypatch.setitem(STRATEGY_NOTES, "fedprox", "Nobody trained its last layer.")
    monkeypatch.setattr(page_files, "WORTH_A_PROCESS", math.inf)  # another would not have the note
    folder = copy("rhythm")
    made_runs.compare(folder)
    write_report(folder)
    pages = [folder / "report" / "index.html", *folder.glob("report/sites/*.html")]
    assert len(pages) > 2
    for page in pages:
        assert "<p>FedProx: Nobody trained its last layer.</p>" in page.read_text()
