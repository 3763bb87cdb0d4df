"""The picture of a heartbeat: where the line is, and that nothing of it is lost."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fl.data.cohort import Batch
from fl.ecg.beat_pictures import SAMPLES as BEAT_SAMPLES
from fl.ecg.tasks import BEAT7
from fl.models.beat_picture import SAMPLES, SIDE, STEPS, BeatPicture
from fl.training.augmentation import crops


def drawn(signal):
    """The picture of one signal: (row, column)."""
    signal = torch.as_tensor(signal, dtype=torch.float32)[None, None]
    return BeatPicture()(signal, torch.ones(1, 1))[0, 0]


def test_the_samples_of_a_beat_need_no_resampling():
    assert BEAT_SAMPLES == SAMPLES == BEAT7.samples


@pytest.mark.parametrize("value", [-0.9, -0.31, 0.0, 0.5])
def test_a_level_line_is_one_pixel_thick_at_its_height(value):
    picture = drawn(np.full(SAMPLES, value))
    torch.testing.assert_close(picture.sum(dim=0), torch.ones(SIDE))
    rows = torch.arange(SIDE) + 0.5
    centre = (picture * rows[:, None]).sum(dim=0)
    torch.testing.assert_close(
        centre, torch.full((SIDE,), (1 - value) * SIDE / 2), atol=0.5, rtol=0
    )


def test_a_straight_line_goes_from_the_lower_left_to_the_upper_right_corner():
    picture = drawn(np.linspace(-1, 1, SAMPLES))
    # One row up for each column: each column has one row of height and one of thickness.
    torch.testing.assert_close(picture.flip(0).diagonal(), torch.ones(SIDE))
    torch.testing.assert_close(picture.sum(dim=0)[1:-1], torch.full((SIDE - 2,), 2.0))
    assert picture.flip(0).triu(2).sum() == picture.flip(0).tril(-2).sum() == 0


@pytest.mark.parametrize("at", [5, 100, 102, 511])
def test_a_spike_of_one_sample_reaches_the_top_in_its_column(at):
    signal = np.full(SAMPLES, -0.5)
    signal[at] = 1.0
    picture = drawn(signal)
    assert picture[0].nonzero()[:, 0].tolist() in ([at // STEPS], [at // STEPS - 1, at // STEPS])
    assert (picture[: SIDE * 3 // 4, at // STEPS] == 1).sum() >= SIDE * 3 // 4 - 1


def test_the_line_has_no_gap_between_columns():
    rng = np.random.default_rng(0)
    picture = drawn(rng.uniform(-0.9, 0.9, SAMPLES)) > 0
    rows = torch.arange(SIDE)[:, None]
    top = torch.where(picture, rows, SIDE).amin(dim=0)
    bottom = torch.where(picture, rows, -1).amax(dim=0)
    assert (top[1:] <= bottom[:-1]).all()
    assert (top[:-1] <= bottom[1:]).all()
    # and each column is drawn without a gap from its top to its bottom
    assert torch.equal(picture.sum(dim=0), bottom - top + 1)


def test_what_is_outside_the_range_is_cut_off():
    signal = np.full(SAMPLES, 0.0)
    signal[:200], signal[300:] = 3.0, -3.0
    picture = drawn(signal)
    assert not picture[:, :49].any()
    assert not picture[:, 76:].any()
    assert picture[:, 52:74].any(dim=0).all()


def test_a_missing_lead_has_an_empty_picture_and_a_flat_one_has_a_line():
    signal = torch.full((1, 2, SAMPLES), float("nan"))
    signal[:, 1] = 0
    picture = BeatPicture()(signal, torch.tensor([[0.0, 1.0]]))
    assert not picture[:, 0].any()
    assert picture[:, 1].sum() == pytest.approx(SIDE)


def test_the_gradient_moves_the_line():
    signal = torch.zeros(1, 1, SAMPLES, requires_grad=True)
    picture = BeatPicture()(signal + 0.013, torch.ones(1, 1))
    (picture[0, 0] * torch.arange(SIDE)[:, None]).sum().backward()
    assert signal.grad.sum() < 0  # a larger value is a smaller row number


def one_batch(signal, classes):
    signal = torch.as_tensor(np.asarray(signal), dtype=torch.float32)
    labels = torch.zeros(len(signal), len(BEAT7.classes))
    labels[torch.arange(len(signal)), [BEAT7.classes.index(c) for c in classes]] = 1
    empty = torch.zeros(len(signal), 0)
    mask = torch.ones(len(signal), 1)
    return Batch(
        signal=signal, lead_mask=mask, features=empty, labels=labels, detector_features=empty
    )


class Chosen:
    """Draws a view that is known."""

    def __init__(self, view):
        self.view = view

    def integers(self, low, high, size):
        assert (low, high) == (0, 10)
        return np.full(size, self.view)


def smooth_beat():
    t = np.linspace(0, 1, SAMPLES)
    beat = np.exp(-(((t - 0.5) / 0.06) ** 2)) - 0.5 * np.exp(-(((t - 0.8) / 0.1) ** 2))
    beat -= 0.3 * np.sin(5 * t)
    return 2 * (beat - beat.min()) / (beat.max() - beat.min()) - 1


@pytest.mark.parametrize("view", range(1, 10))
def test_a_drawn_crop_is_the_crop_of_the_picture_up_to_the_thickness_of_the_line(view):
    batch = one_batch(smooth_beat()[None, None], ["V"])
    changed = crops(batch, BEAT7, Chosen(view))
    here = BeatPicture()(changed.signal, batch.lead_mask)[0, 0]
    row, column = divmod(view - 1, 3)
    whole = BeatPicture()(batch.signal, batch.lead_mask)
    part = whole[:, :, 16 * row : 16 * row + 96, 16 * column : 16 * column + 96]
    raster = F.interpolate(part, SIDE, mode="bilinear", align_corners=False)[0, 0]
    # The enlarged line is 4/3 as thick: where either is, the other is within a pixel or two.
    near = lambda p: F.max_pool2d(p[None, None], 5, 1, 2)[0, 0]  # noqa: E731
    assert here.any()
    assert (near(raster)[here > 0.5] > 0).all()
    assert (near(here)[raster > 0.5] > 0).all()


def test_normal_beats_stay_whole_and_every_view_of_the_others_is_drawn():
    signal = np.repeat(smooth_beat()[None, None], 400, axis=0)
    batch = one_batch(signal, ["N", "E"] * 200)
    changed = crops(batch, BEAT7, np.random.default_rng(0)).signal
    assert torch.equal(changed[::2], batch.signal[::2])
    views = torch.unique(changed[1::2], dim=0)
    assert len(views) == 10
    assert (changed == batch.signal).all(dim=2)[1::2].float().mean() < 0.25
