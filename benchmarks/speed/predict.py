"""Recordings that `predict` answers per second, on all cores, and its memory.

    python -m benchmarks.speed.predict --weights FILE [--records 2000] [--many 20000]

Data: synthetic recordings of ten seconds at 500 Hz with lead I, a WFDB file each, in a temporary
folder. Measured are the answers to `--records` of them, the same processes reading them alone, and
one recording after the other as a loop over `predict_recording` does it. The rate beyond reading is
the number of recordings by the difference of the first two times. The peak memory of all processes
(proportional set size) is that of `--records` and of `--many` recordings. Times without the start
of the processes: a first request has loaded everything.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.common.process_watch import ProcessWatch
from benchmarks.common.results_store import command, machine_description, put_between_marks
from fl.datasets.readers import wfdb_access
from fl.datasets.synthetic import SYNTHETIC
from fl.predict.inference import predict_recording
from fl.predict.input_files import read_record
from fl.predict.recording_pool import CHUNK, PredictionJob, all_answers
from fl.predict.saved_model import SavedModel, load_model
from fl.predict.several import Answer, Reading
from fl.training.device import one_thread
from fl.util.cores import available_cores

SECONDS, FS = 10, 500
DIFFERENT = 100  # recordings; the others are copies of them under other names
ONE_BY_ONE = 300  # recordings that the loop answers
SOURCE = "pooled"


class ReadingOnly(PredictionJob):
    """The same processes and files, without an answer."""

    def answers(self, model: SavedModel, names: Sequence[str]) -> Iterator[Answer]:
        """An empty answer to each recording, once it is read."""
        for name in names:
            read_record(name, self.fs, self.unit)
            yield Answer(name=name)


def write_recordings(folder: Path, count: int) -> list[str]:
    """Headers of so many recordings, written below the folder, a thousand in each."""
    source = replace(SYNTHETIC, n_records=DIFFERENT)
    originals = []
    for number, name in enumerate(source.record_names(Path())):
        record = source.read(Path(), name)
        times = int(np.ceil(SECONDS * FS / record.signal.shape[1]))
        signal = np.tile(record.signal[:1], times)[:, : SECONDS * FS]
        stem = f"o{number:03d}"
        wfdb_access.call(
            "wrsamp",
            stem,
            fs=FS,
            units=["mV"],
            sig_name=["I"],
            p_signal=signal.T.astype(float),
            fmt=["16"],
            write_dir=str(folder),
        )
        originals.append(folder / stem)
    names = []
    for number in range(count):
        original = originals[number % DIFFERENT]
        place = folder / f"{number // 1000:03d}"
        place.mkdir(exist_ok=True)
        stem = place / f"r{number:06d}"
        shutil.copy(original.with_suffix(".dat"), stem.with_suffix(".dat"))
        header = original.with_suffix(".hea").read_text().replace(original.name, stem.name)
        stem.with_suffix(".hea").write_text(header)
        names.append(str(stem.with_suffix(".hea")))
    return names


def seconds_of(job: PredictionJob, model: SavedModel, names: Sequence[str], workers: int) -> float:
    """Seconds for all names but the first chunks, while whose answers the processes start."""
    first = 2 * workers * CHUNK
    chunks = all_answers(job, model, [*names[:first], *names], workers)
    done, begin = 0, 0.0
    for some in chunks:
        done += len(some)
        if not begin and done >= first:
            begin, at = time.perf_counter(), done
    return (time.perf_counter() - begin) * len(names) / (first + len(names) - at)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the lines."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--records", type=int, default=2000)
    parser.add_argument("--many", type=int, default=20000)
    parser.add_argument("--results", type=Path, default=Path("docs/performance.md"))
    options = parser.parse_args(arguments)
    one_thread()
    model = load_model(options.weights)
    facts = {
        "weights": options.weights,
        "task": "",
        "fs": None,
        "unit": "mV",
        "reading": Reading(source=SOURCE),
    }
    workers = available_cores()
    with tempfile.TemporaryDirectory() as folder:
        names = write_recordings(Path(folder), max(options.records, options.many))
        few = names[: options.records]
        begin = time.perf_counter()
        for name in few[:ONE_BY_ONE]:
            record = read_record(name, None, "mV")
            predict_recording(model, record, name, source=SOURCE, windows=False, detector="")
        alone = len(few[:ONE_BY_ONE]) / (time.perf_counter() - begin)
        answering, reading = PredictionJob(**facts), ReadingOnly(**facts)
        read = seconds_of(reading, model, few, workers)
        answered = seconds_of(answering, model, few, workers)
        peaks = {}
        for some in (few, names[: options.many]):
            with ProcessWatch(os.getpid(), every=0.5) as watch:
                for _ in all_answers(answering, model, some, workers):
                    pass
            peaks[len(some)] = watch.peak
    n = len(few)
    lines = [
        "| recordings per second | |",
        "| --- | --- |",
        f"| one after the other, with reading (a loop over `predict_recording`) | {alone:,.0f} |",
        f"| read, in {workers} processes | {n / read:,.0f} |",
        f"| read and answered, in {workers} processes | {n / answered:,.0f} |",
        f"| answered, beyond reading | {n / max(answered - read, 1e-9):,.0f} |",
        "",
        "Memory of all processes at most: "
        + "; ".join(f"{peak / 2**20:,.0f} MiB with {k:,} recordings" for k, peak in peaks.items())
        + ".",
        "",
        f"Made by `{command('speed.predict', data=False)}` on {machine_description('cpu')}; "
        f"{model.name}; synthetic recordings.",
    ]
    print("\n".join(lines))
    put_between_marks(options.results, "predict", "\n".join(lines))


if __name__ == "__main__":
    main()
