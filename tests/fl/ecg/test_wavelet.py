"""Wavelet denoising removes baseline and noise, keeps the beats, and is a task of its own."""

import numpy as np
import pytest

from fl.config.config_file import load_config
from fl.data.example_cache import prepare
from fl.datasets.synthetic import SYNTHETIC_HOLTER
from fl.ecg import wavelet
from fl.ecg.tasks import BEAT, BEAT_WAVELET, RHYTHM_SIGNAL, RHYTHM_WAVELET, TASKS, task_with_filter
from fl.ecg.wavelet import wavelet_denoised
from fl.util.errors import ConfigError


def sine(hz, fs=100.0, seconds=20.0):
    return np.sin(2 * np.pi * hz * np.arange(round(fs * seconds)) / fs)[None].astype(np.float32)


def middle(signal):
    return signal[:, 400:-400]


@pytest.mark.parametrize(("hz", "lowest", "highest"), [(0.1, 0, 0.05), (1, 0.95, 1.05)])
def test_the_baseline_goes_and_slow_waves_stay(hz, lowest, highest):
    before, after = sine(hz), wavelet_denoised(sine(hz), 100.0)
    assert lowest <= middle(after).std() / middle(before).std() <= highest


def test_white_noise_is_reduced_and_the_wave_under_it_stays(rng):
    clean = np.zeros((2, 2000), dtype=np.float32)
    for peak in range(100, 2000, 80):  # spikes as wide as a QRS
        clean += np.exp(-0.5 * ((np.arange(2000) - peak) / 2.5) ** 2)
    noisy = clean + 0.1 * rng.standard_normal(clean.shape).astype(np.float32)
    level = middle(wavelet_denoised(clean, 100.0))
    error = middle(wavelet_denoised(noisy, 100.0)) - level
    # Between the spikes; in them the soft threshold takes some of their height.
    flat = middle(clean)[0] < 1e-3
    steps = np.diff(error[0])[flat[1:] & flat[:-1]]
    assert steps.std() < 0.2 * 0.1 * np.sqrt(2)
    assert np.corrcoef(middle(wavelet_denoised(noisy, 100.0))[0], level[0])[0, 1] > 0.9


@pytest.mark.parametrize("n", [3, 17, 500, 5001])
def test_any_length_and_a_flat_lead_keep_their_shape_and_stay_finite(n, rng):
    signal = rng.standard_normal((3, n)).astype(np.float32)
    signal[1] = 0
    after = wavelet_denoised(signal, 100.0)
    assert after.shape == signal.shape
    assert after.dtype == np.float32
    assert np.isfinite(after).all()
    assert not after[1].any()


@pytest.mark.parametrize("task", ["rhythm", "beat"])
def test_the_filter_chooses_the_variant_of_the_task_and_is_in_the_settings(task):
    config = load_config({"task": task, "filter": "wavelet"})
    assert (config.task, config.filter) == (f"{task}-wavelet", "wavelet")
    assert load_config(config.model_dump()) == config
    assert load_config({"task": f"{task}-wavelet"}).filter == "wavelet"
    plain = load_config({"task": task})
    assert (plain.task, plain.filter) == (task, "bandpass")
    assert config.model == plain.model


def test_a_task_without_the_filter_is_refused_in_one_line():
    with pytest.raises(ConfigError, match="--filter is 'wavelet', which the beat-causal task") as e:
        load_config({"task": "beat-causal", "filter": "wavelet"})
    assert "one of the tasks rhythm, beat." in str(e.value)


def test_without_pywavelets_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(wavelet, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'heartfed\[wavelet\]'"):
        wavelet_denoised(sine(1), 100.0)


def test_each_filter_has_examples_of_its_own_in_the_cache(tmp_path):
    source = SYNTHETIC_HOLTER
    source = type(source)(**{**vars(source), "n_records": 3})
    folders = {
        name: prepare(source, tmp_path, TASKS[name], tmp_path / "cache")
        for name in ("rhythm", "rhythm-wavelet", "beat", "beat-wavelet")
    }
    assert len(set(folders.values())) == 4
    for name in ("rhythm", "beat"):
        plain, cleaned = (np.load(folders[n] / "signals.npy") for n in (name, f"{name}-wavelet"))
        assert plain.shape == cleaned.shape
        assert not np.allclose(plain, cleaned, atol=0.05)
        assert np.corrcoef(plain.astype(float), cleaned.astype(float))[0, 1] > 0.6


def test_nothing_but_the_filter_differs_between_the_variants():
    for one, other in ((RHYTHM_SIGNAL, RHYTHM_WAVELET), (BEAT, BEAT_WAVELET)):
        changed = {k for k in vars(one) if vars(one)[k] != vars(other)[k]}
        assert changed == {"name", "preprocessing", "make_examples", "filter"}
    assert task_with_filter("rhythm", "wavelet") is RHYTHM_WAVELET
    assert task_with_filter("beat", "wavelet") is BEAT_WAVELET
