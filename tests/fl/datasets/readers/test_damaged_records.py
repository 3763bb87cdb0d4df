"""A damaged recording gets a verdict, never a traceback or a wrong label."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.small_records import MAT_HEADER, challenge, edit, holter, outcome, ptbxl, write

from fl.datasets import DATASETS
from fl.datasets.own_folder import parse_source
from fl.ecg.records import Record


def own_folder(root: Path) -> Path:
    (root / "own").mkdir(exist_ok=True)
    (root / "own" / "labels.csv").write_text("record,patient,labels\necg1,p1,RBBB\n")
    return write(root / "own", "ecg1")


# For each kind of source: a function that writes a good record, and the record's name.
KINDS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "cpsc2018": (lambda root: challenge(root / "cpsc2018", "A0001"), "A0001"),
    "georgia": (lambda root: challenge(root / "georgia" / "g1", "E00001"), "E00001"),
    "mitdb": (lambda root: holter(root / "mitdb", "100"), "100"),
    "ptbxl": (ptbxl, "00001"),
    "own": (own_folder, "ecg1"),
}


def read(kind: str, root: Path) -> Record | str:
    source = parse_source(f"own={root / 'own'}") if kind == "own" else DATASETS[kind]
    return outcome(source, root, KINDS[kind][1])


def signal_of(stem: Path) -> Path:
    return next(p for p in (stem.with_suffix(".mat"), stem.with_suffix(".dat")) if p.exists())


def header_of(stem: Path) -> Path:
    return stem.with_suffix(".hea")


def samples(stem: Path) -> tuple[bytes, np.ndarray]:
    """The bytes before the samples, and the samples as (sample, lead)."""
    path = signal_of(stem)
    start = MAT_HEADER if path.suffix == ".mat" else 0
    leads = int(header_of(stem).read_text().split()[1])
    content = path.read_bytes()
    stored = np.frombuffer(content[start:], dtype="<i2").reshape(-1, leads).copy()
    return content[:start], stored


def rewrite(stem: Path, change: Callable[[np.ndarray], np.ndarray], sums: bool) -> None:
    """Store changed samples; with `sums`, also change the header's checksums to fit them."""
    before, stored = samples(stem)
    stored = change(stored).astype("<i2")
    signal_of(stem).write_bytes(before + stored.tobytes())
    if sums:
        first, *lines = header_of(stem).read_text().splitlines()
        for i, line in enumerate(lines[: stored.shape[1]]):
            fields = line.split()
            fields[5:7] = str(stored[0, i]), str(stored[:, i].astype(np.int64).sum() % 65536)
            lines[i] = " ".join(fields)
        fields = first.split()
        fields[3] = str(len(stored))
        header_of(stem).write_text("\n".join([" ".join(fields), *lines]) + "\n")


def cut(stem: Path) -> None:
    path = signal_of(stem)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def name_other_file(stem: Path, other: str) -> None:
    edit(header_of(stem), f"\n{signal_of(stem).name} ", f"\n{other} ")


def name_leads(stem: Path, lead: Callable[[int], str]) -> None:
    first, *lines = header_of(stem).read_text().splitlines()
    for i, line in enumerate(lines):
        if not line.startswith("#"):
            lines[i] = f"{line.rpartition(' ')[0]} {lead(i)}"
    header_of(stem).write_text("\n".join([first, *lines]) + "\n")


def flip_a_bit(stored: np.ndarray) -> np.ndarray:
    stored[700, 1] ^= 16
    return stored


def garbage(stored: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).integers(-30000, 30000, stored.shape)


# For each kind of damage: a function that does it, and the expected verdict.
DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "signal cut in half": (cut, "truncated"),
    "signal of zero length": (lambda s: signal_of(s).write_bytes(b""), "truncated"),
    "signal missing": (lambda s: signal_of(s).unlink(), "missing-file"),
    "folder in the signal's place": (lambda s: replace_by_folder(signal_of(s)), "missing-file"),
    "one bit flipped": (lambda s: rewrite(s, flip_a_bit, sums=False), "checksum"),
    "garbage for a signal": (lambda s: rewrite(s, garbage, sums=False), "checksum"),
    "leads swapped": (lambda s: rewrite(s, lambda x: x[:, ::-1], sums=False), "checksum"),
    "nothing but gaps": (
        lambda s: rewrite(s, lambda x: np.full_like(x, -32768), sums=True),
        "no-signal",
    ),
    "flat lines": (lambda s: rewrite(s, lambda x: 0 * x + 7, sums=True), "no-signal"),
    "two seconds long": (lambda s: rewrite(s, lambda x: x[: len(x) // 4], sums=True), "too-short"),
    "header missing": (lambda s: header_of(s).unlink(), "missing-file"),
    "folder in the header's place": (lambda s: replace_by_folder(header_of(s)), "missing-file"),
    "header of zero length": (lambda s: header_of(s).write_bytes(b""), "bad-header"),
    "garbage for a header": (
        lambda s: header_of(s).write_bytes(np.random.default_rng(1).bytes(900)),
        "bad-header",
    ),
    "huge header": (lambda s: header_of(s).write_bytes(b"# no\n" * 90_000), "bad-header"),
    "header without numbers": (lambda s: edit(header_of(s), " 16", " x"), "bad-header"),
    "unit of pressure": (lambda s: edit(header_of(s), "/mV", "/mmHg"), "bad-header"),
    "another file named": (lambda s: name_other_file(s, "A0002.mat"), "foreign-file"),
    "password file named": (lambda s: name_other_file(s, "../../etc/passwd"), "foreign-file"),
    "absolute path named": (lambda s: name_other_file(s, "/etc/passwd"), "foreign-file"),
    "Windows path named": (lambda s: name_other_file(s, "..\\secret.dat"), "foreign-file"),
    "standard input named": (lambda s: name_other_file(s, "-"), "foreign-file"),
    "leads with unknown names": (lambda s: name_leads(s, lambda i: f"ch{i}"), "lead-names"),
    "one name for all leads": (lambda s: name_leads(s, lambda i: "II"), "lead-names"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_record_has_a_verdict(tmp_path, kind, damage):
    do_damage, verdict = DAMAGE[damage]
    stem = KINDS[kind][0](tmp_path)
    assert isinstance(read(kind, tmp_path), Record)  # it is good before the damage
    do_damage(stem)
    assert read(kind, tmp_path) == verdict


@pytest.mark.parametrize("kind", ["cpsc2018", "georgia", "mitdb", "ptbxl"])
def test_another_sampling_rate_is_refused(tmp_path, kind):
    stem = KINDS[kind][0](tmp_path)
    first, rest = header_of(stem).read_text().split("\n", 1)
    fields = first.split()
    fields[2] = "250"
    header_of(stem).write_text(f"{' '.join(fields)}\n{rest}")
    assert read(kind, tmp_path) == "wrong-rate"


def test_a_record_of_several_segments_is_not_followed(tmp_path):
    stem = KINDS["cpsc2018"][0](tmp_path)
    header_of(stem).write_text("A0001/2 12 500 4000\n../secret 2000\nA0002 2000\n")
    assert read("cpsc2018", tmp_path) == "foreign-file"


def test_a_header_copied_from_another_record_is_refused(tmp_path):
    stem = KINDS["cpsc2018"][0](tmp_path)
    other = challenge(tmp_path / "cpsc2018", "A0002", "164889003", seed=2)
    shutil.copy(header_of(other), header_of(stem))
    assert read("cpsc2018", tmp_path) == "foreign-file"
    edit(header_of(stem), "A0002.mat", "A0001.mat")
    assert read("cpsc2018", tmp_path) == "bad-header"
    edit(header_of(stem), "A0002", "A0001")
    assert read("cpsc2018", tmp_path) == "checksum"


def test_a_pipe_is_never_opened(tmp_path):
    stem = KINDS["cpsc2018"][0](tmp_path)
    for path in (signal_of(stem), header_of(stem)):
        path.unlink()
        os.mkfifo(path)
        assert read("cpsc2018", tmp_path) == "missing-file"


def same_labels(damaged: Record, good: Record) -> bool:
    """Whether both records have the same labels or beats."""
    if damaged.annotations is not None and good.annotations is not None:
        return damaged.annotations.symbols == good.annotations.symbols
    return np.array_equal(damaged.labels, good.labels)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
@pytest.mark.parametrize("kind", ["cpsc2018", "georgia"])
def test_one_wrong_byte_in_a_header_never_makes_a_wrong_label(tmp_path_factory, kind, data):
    root = tmp_path_factory.mktemp("damage")
    stem = KINDS[kind][0](root)
    good = read(kind, root)
    content = bytearray(header_of(stem).read_bytes())
    i = data.draw(st.integers(0, len(content) - 1))
    content[i] = data.draw(st.integers(0, 255).filter(lambda value: value != content[i]))
    header_of(stem).write_bytes(bytes(content))
    result = read(kind, root)
    assert isinstance(result, str) or same_labels(result, good)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_header_of_any_content_has_a_verdict(tmp_path_factory, kind, data):
    root = tmp_path_factory.mktemp("damage")
    stem = KINDS[kind][0](root)
    content = header_of(stem).read_bytes()
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(content))] * 2)))
    header_of(stem).write_bytes(content[:start] + data.draw(st.binary()) + content[stop:])
    assert read(kind, root)  # a record or a verdict, and no other error
