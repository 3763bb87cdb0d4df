"""What is answered with "cannot say": real recordings, noise, and both together.

Run as `python -m benchmarks.studies.cannot_say --data-dir DATA`; a few minutes on one core. The
tables are written into docs/cannot_say.md. The limits were chosen on every source but PTB-XL.
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy

from benchmarks.common.results_store import command, machine_description, put_between_marks
from fl.datasets import DATASETS
from fl.datasets.data_report import HasWaveform
from fl.datasets.readers import wfdb_access
from fl.ecg.acceptability import SENTENCES, assess
from fl.ecg.filters import Signal, resample
from fl.util.errors import UnusableRecord
from fl.util.random_streams import stream

PAGE = Path("docs/cannot_say.md")
SOURCES = ("cpsc2018", "cpsc2018-lead1", "georgia", "cpsc-extra", "ptbxl")
WINDOWS = 6  # of 10 s from each half-hour recording
LONGEST = 30.0  # s that are read of a recording
NOISY = 15  # recordings of each source to which noise is added
SNR = (20, 10, 5, 0, -5, -10)  # dB
SHAPES = ((1, 100.0), (1, 500.0), (2, 360.0), (12, 100.0), (12, 500.0))  # leads, Hz
REPEATS = 20  # signals of each kind of noise and shape
TONES = (1, 2, 3, 5, 8, 10, 15, 20, 25, 30, 40, 45)  # Hz


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A signal of up to a minute, from a recording or made up."""

    signal: Signal
    leads: tuple[str, ...]
    fs: float


def real(root: Path, source: str, seed: int) -> Iterator[Clip]:
    """The recordings of a source, or 10 s windows of its half-hour recordings."""
    if source == "svdb":
        waves = _svdb(root)
    else:
        names = DATASETS[source].record_names(root)
        waves = (clip for name in names if (clip := _clip(source, root, name)))
    for number, wave in enumerate(waves):
        if source in ("mitdb", "svdb"):
            size = round(10 * wave.fs)
            rng = stream(seed, "cannot say", source, number)
            starts = rng.choice(wave.signal.shape[1] // size, WINDOWS, replace=False) * size
            parts = [slice(start, start + size) for start in sorted(starts.tolist())]
        else:
            parts = [slice(0, round(LONGEST * wave.fs))]
        for part in parts:
            yield Clip(signal=wave.signal[:, part], leads=wave.leads, fs=wave.fs)


def _clip(source: str, root: Path, name: str) -> Clip | None:
    """The whole recording, whatever its labels are; None if it cannot be read."""
    data = DATASETS[source]
    assert isinstance(data, HasWaveform)
    try:
        wave = data.waveform(root, name)
    except UnusableRecord:
        return None
    return Clip(signal=wave.signal, leads=wave.leads, fs=wave.fs)


def _svdb(root: Path) -> Iterator[Clip]:
    """The one lead of each recording; the data set does not name it."""
    for header in sorted((root / "svdb").glob("*.hea")):
        record = wfdb_access.call("rdrecord", str(header.with_suffix("")))
        signal = np.ascontiguousarray(record.p_signal.T, dtype=np.float32)
        yield Clip(signal=signal, leads=("II",), fs=float(record.fs))


def noise(kind: str, shape: tuple[int, int], fs: float, rng: np.random.Generator) -> Signal:
    """Noise of one kind with standard deviation 1 in each lead: (lead, sample)."""
    white = rng.standard_normal(shape)
    if kind in ("muscle", "motion"):
        band = (20.0, min(150.0, 0.45 * fs)) if kind == "muscle" else (1.0, 10.0)
        sos = scipy.signal.butter(3, band, "bandpass", fs=fs, output="sos")
        made = scipy.signal.sosfilt(sos, white)
    elif kind.startswith("mains"):
        made = _tone(float(kind.removeprefix("mains ").removesuffix(" Hz")), shape, fs, rng)
        made = made + 0.05 * white
    else:
        f = np.fft.rfftfreq(shape[1], 1 / fs)
        f[0] = f[1]
        slope = {"white": 0.0, "pink": 0.5, "brown": 1.0}[kind]
        made = np.fft.irfft(np.fft.rfft(white) * f**-slope, shape[1])
    return np.asarray(made / made.std(axis=1, keepdims=True), dtype=np.float32)


KINDS = ("white", "pink", "brown", "muscle", "motion", "mains 50 Hz", "mains 60 Hz")


def _tone(hz: float, shape: tuple[int, int], fs: float, rng: np.random.Generator) -> Signal:
    gains, phase = rng.uniform(0.3, 1.5, (shape[0], 1)), rng.uniform(0, 2 * np.pi)
    return np.asarray(
        gains * np.sin(2 * np.pi * hz / fs * np.arange(shape[1]) + phase), dtype=np.float32
    )


def reasons(clips: Iterable[Clip]) -> Counter[str]:
    """How many signals have each verdict; "" counts those that are answered."""
    return Counter(assess(clip.signal, clip.leads, clip.fs).reason for clip in clips)


def made_up(kind: str, seed: int) -> Iterator[Clip]:
    """Signals of one kind that are no ECG, with 1, 2 and 12 leads at several rates."""
    for leads, fs in SHAPES:
        if kind == "mains 60 Hz" and fs < 120:
            continue
        for number in range(REPEATS):
            rng = stream(seed, "cannot say", kind, leads, str(fs), number)
            shape = (leads, round(10 * fs))
            if kind == "tone of 1 to 45 Hz":
                signal = _tone(TONES[number % len(TONES)], shape, fs, rng)
            elif kind == "flat":
                signal = np.full(shape, rng.normal(), dtype=np.float32)
            else:
                signal = noise(kind, shape, fs, rng)
            yield Clip(signal=signal, leads=tuple(f"lead {i}" for i in range(leads)), fs=fs)


def saturated(clips: Iterable[Clip]) -> Iterator[Clip]:
    """Recordings with so much gain that an amplifier cuts them at a tenth of their deviation."""
    for clip in clips:
        rail = 0.1 * clip.signal.std(axis=1, keepdims=True)
        centred = clip.signal - np.median(clip.signal, axis=1, keepdims=True)
        yield Clip(signal=centred.clip(-rail, rail), leads=clip.leads, fs=clip.fs)


def read_at(clips: Iterable[Clip], true: float, claimed: float) -> Iterator[Clip]:
    """Recordings sampled at `true` Hz that are taken for `claimed` Hz, if 5 s or more are left."""
    for clip in clips:
        signal = resample(clip.signal, clip.fs, true)
        if signal.shape[1] >= 5 * claimed:
            yield Clip(signal=signal, leads=clip.leads, fs=claimed)


def with_noise(clips: Iterable[Clip], kind: str, snr: float, seed: int) -> Iterator[Clip]:
    """Recordings with noise in every lead; `snr` is in dB, of each lead's power above 0.5 Hz."""
    for number, clip in enumerate(clips):
        rng = stream(seed, "cannot say", "added", kind, str(snr), number)
        sos = scipy.signal.butter(2, 0.5, "highpass", fs=clip.fs, output="sos")
        power = scipy.signal.sosfiltfilt(sos, clip.signal).std(axis=1, keepdims=True)
        added = noise(kind, clip.signal.shape, clip.fs, rng) * power * 10 ** (-snr / 20)
        signal = np.asarray(clip.signal + added, dtype=np.float32)
        yield Clip(signal=signal, leads=clip.leads, fs=clip.fs)


def row(name: str, found: Counter[str]) -> str:
    """Name, number, share that is not answered, and the reasons."""
    total, answered = found.total(), found[""]
    why = ", ".join(f"{n} {reason}" for reason, n in found.most_common() if reason)
    return f"| {name} | {total:,} | {100 * (1 - answered / max(total, 1)):.1f}% | {why} |"


def tables(root: Path, seed: int) -> list[str]:
    """All tables as lines of Markdown."""
    head = ["| signals | number | cannot say | reasons |", "| --- | --- | --- | --- |"]
    chosen = [s for s in (*SOURCES, "mitdb", "svdb") if (root / s).is_dir()]
    lines = ["### Recordings as they are", "", *head]
    total: Counter[str] = Counter()
    few: list[Clip] = []
    for source in chosen:
        clips = list(real(root, source, seed))
        found = reasons(clips)
        total += found
        unit = ", 10 s windows" if source in ("mitdb", "svdb") else ""
        lines.append(row(source + unit, found))
        if source != "ptbxl":
            picked = stream(seed, "cannot say", "noisy", source).permutation(len(clips))[:NOISY]
            few += [clips[i] for i in picked]
        print(lines[-1], flush=True)
    lines += [row("all", total), "", "### Signals that are no ECG", "", *head]
    for kind in (*KINDS, "tone of 1 to 45 Hz", "flat"):
        lines.append(row(kind, reasons(made_up(kind, seed))))
        print(lines[-1], flush=True)
    lines.append(row("saturated recordings", reasons(saturated(few))))
    at_500 = [clip for clip in few if clip.fs == 500]
    for true, claimed in ((500.0, 50.0), (500.0, 100.0), (100.0, 500.0), (500.0, 250.0)):
        found = reasons(read_at(at_500, true, claimed))
        lines.append(row(f"{true:g} Hz read as {claimed:g} Hz", found))
        print(lines[-1], flush=True)
    lines += ["", f"### Noise added to {len(few)} recordings: share not answered", ""]
    lines += ["| noise | " + " | ".join(f"{snr} dB" for snr in SNR) + " |"]
    lines += ["| --- |" + " --- |" * len(SNR)]
    for kind in KINDS[:-1]:
        usable = [clip for clip in few if kind != "mains 50 Hz" or clip.fs > 100]
        shares = []
        for snr in SNR:
            found = reasons(with_noise(usable, kind, snr, seed))
            shares.append(f"{100 * (1 - found[''] / found.total()):.0f}%")
        lines.append(f"| {kind} | {' | '.join(shares)} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Measure and write the tables into docs/cannot_say.md."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    made_by = f"Made by `{command('studies.cannot_say')}` on {machine_description('cpu')}."
    codes = [f"- `{code}`: {sentence}" for code, sentence in SENTENCES.items()]
    lines = [made_by, "", *tables(options.data_dir, options.seed), "", "Reasons:", "", *codes]
    put_between_marks(PAGE, "cannot say", "\n".join(lines))


if __name__ == "__main__":
    main()
