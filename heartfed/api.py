"""The functions that `heartfed` offers from Python."""

from pathlib import Path
from typing import Any

import run_sim
from fl.predict.answerable import without_signal
from fl.predict.inference import predict_recording
from fl.predict.input_files import read_record
from fl.predict.prediction import RecordingPrediction
from fl.predict.saved_model import SavedModel
from fl.predict.saved_model import load_model as load_saved_model
from fl.reports.run_files import Run
from fl.reports.run_files import read_run as read_run_files
from fl.util.errors import ConfigError, UnusableRecord


def simulate(**settings: Any) -> Path:
    """Train one model over simulated hospitals; returns the run directory.

    `settings` are the flags of `heartfed simulate` with `_` for `-`: `simulate(clients=4,
    strategy="fedprox", out="runs", quiet=True)`; `pages=False` writes no report. `ConfigError`
    names a setting that cannot be used. A script calls this under `if __name__ == "__main__":`,
    since the processes that preprocess import the script.
    """
    for name in run_sim.PATHS & settings.keys():
        settings[name] = Path(settings[name])
    folder = run_sim.run(*run_sim.resolve(settings))
    if folder is None:
        raise ConfigError("dry_run is for the command line: `heartfed simulate --dry-run`.")
    return folder


def load_model(path: str | Path) -> SavedModel:
    """The model in a weights file of a run; `ConfigError` says why it cannot be used."""
    return load_saved_model(Path(path))


def predict(
    model: SavedModel,
    recording: str | Path,
    fs: float | None = None,
    unit: str = "",
    source: str = "pooled",
) -> RecordingPrediction:
    """The classes of one recording with their probabilities.

    `recording` is a WFDB record, a file of a hospital's format, or a CSV file with a header of lead
    names; `fs` is the CSV file's sampling rate in Hz (None: by its column of times), `unit` that of
    its values ("": by its headings, else mV), and `source` the data set whose thresholds decide.
    `cannot_say` of the result is the reason where there is no answer. Research software, no medical
    device. `DataError` if the recording cannot be used.
    """
    text = str(recording)
    try:
        record = read_record(text, fs, unit, single_beats=True)
        return predict_recording(model, record, text, source=source, windows=False, detector="")
    except UnusableRecord as verdict:
        answer = without_signal(text, verdict)
        if answer is None:
            raise
        return answer


def read_run(folder: str | Path) -> Run:
    """A completed run: its settings, results, history and predictions."""
    return read_run_files(Path(folder))
