"""Curves for TensorBoard: a point for every round, and every call passed on to the view."""

import sys
from dataclasses import replace

import pytest
from support.history_rows import round_row

from fl.reports.tensorboard import CURVES, TensorBoard, check_tensorboard
from fl.util.errors import ConfigError

ROW = round_row(val_loss=0.4, val_macro_f1=None)


class RecordingView:
    """Remembers the calls it gets."""

    def __init__(self):
        self.calls = []

    def training(self, strategy, rounds, sites):
        self.calls.append(("training", strategy, rounds))

    def site(self, round_number, site, doing, note):
        self.calls.append(("site", site, doing))

    def round(self, row):
        self.calls.append(("round", row.round))


def test_each_round_is_a_point_and_every_call_is_passed_on(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    view = RecordingView()
    board = TensorBoard(tmp_path, view)
    board.training("fedavg", 2, [])
    board.site(1, "site-1", "train", "")
    board.round(ROW)
    board.round(replace(ROW, round=2, val_loss=0.25))
    board.close()
    assert [call[0] for call in view.calls] == [
        "training",
        "site",
        "round",
        "round",
    ]
    found = EventAccumulator(str(tmp_path / "fedavg")).Reload()
    points = [(e.step, e.value) for e in found.Scalars("loss/validation")]
    assert points == [(1, pytest.approx(0.4)), (2, pytest.approx(0.25))]
    assert set(found.Tags()["scalars"]) == set(CURVES.values()) - {"validation/macro-F1"}


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"pip install .*\[tensorboard\]"):
        check_tensorboard()
