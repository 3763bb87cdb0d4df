"""Signals whose heartbeats are known, and signals that are no ECG."""

import numpy as np
from scipy import signal

FS = 250.0


def heartbeats(rate, seconds=30.0, fs=FS, seed=0, noise=0.02):
    """One lead with a QRS complex and a T wave at `rate` per minute: (1, sample) mV."""
    t = np.arange(round(seconds * fs)) / fs
    beats = np.arange(0.4, seconds, 60 / rate)[:, None]
    qrs = np.exp(-(((t - beats) / 0.02) ** 2)) - 0.3 * np.exp(-(((t - beats - 0.04) / 0.02) ** 2))
    t_wave = 0.25 * np.exp(-(((t - beats - min(0.25, 24 / rate)) / 0.05) ** 2))
    rest = noise * np.random.default_rng(seed).standard_normal(len(t))
    return ((qrs + t_wave).sum(axis=0) + rest)[None].astype(np.float32)


def noise(kind, seconds=30.0, fs=FS, seed=0):
    """One lead of noise: `white`, `pink`, `brown` or `muscle` (above 20 Hz)."""
    white = np.random.default_rng(seed).standard_normal(round(seconds * fs))
    if kind == "muscle":
        sos = signal.butter(3, 20.0, "highpass", fs=fs, output="sos")
        return signal.sosfilt(sos, white)[None].astype(np.float32)
    f = np.fft.rfftfreq(len(white), 1 / fs)
    f[0] = f[1]
    slope = {"white": 0.0, "pink": 0.5, "brown": 1.0}[kind]
    return np.fft.irfft(np.fft.rfft(white) * f**-slope, len(white))[None].astype(np.float32)


def tone(frequency, seconds=30.0, fs=FS):
    """One lead of a sine: (1, sample) mV."""
    t = np.arange(round(seconds * fs)) / fs
    return np.sin(2 * np.pi * frequency * t)[None].astype(np.float32)
