"""A federation trained on files of hospitals' formats, and nothing of a patient anywhere."""

import pytest
from support.hospital_files import WRITERS, files_with_secrets, secrets_in, stored

import run_sim
from fl.explain.__main__ import main as explain
from fl.predict.__main__ import main as predict

NAMES = list(WRITERS)
FLAGS = [
    *("--clients", "2", "--rounds", "1", "--local-epochs", "1", "--model", "resnet1d"),
    *("--engine", "local", "--partition", "patients", "--workers", "1"),
]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """An own folder: 24 files of eight formats, of twelve patients; one file is damaged."""
    folder = tmp_path_factory.mktemp("archive")
    lines = ["record,patient,labels"]
    for place in range(24):
        file = folder / f"e{place:02d}.bin"
        WRITERS[NAMES[place % 8]](file, stored(8, fs=250, seed=place), fs=250)
        lines.append(f"{file.name},p{place // 2},{'AF' if place % 4 < 2 else 'NSR'}")
    damaged = folder / "e00.bin"
    damaged.write_bytes(damaged.read_bytes()[:-3000])
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_a_run_its_pages_its_cache_and_its_predictions_name_no_patient(
    archive, tmp_path, capfd, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    command = [*FLAGS, "--sources", f"mysite={archive}", "--data-dir", str(tmp_path)]
    out = tmp_path / "runs"
    command += ["--cache-dir", str(tmp_path / "cache"), "--out", str(out), "--name", "a"]
    assert run_sim.main(command) == 0
    weights = str(out / "a" / "weights" / "fedavg-best.safetensors")
    files = [str(archive / f"e{place:02d}.bin") for place in range(8)]
    figures = ["--explain", str(tmp_path / "figures")]
    assert predict(["--weights", weights, "--json", *figures, *files]) == 2
    assert explain(["--weights", weights, "--out", str(tmp_path / "why"), files[1]]) == 0
    printed = capfd.readouterr()
    assert "e00.bin: the signal" in printed.err, "the damaged file is named"
    assert printed.out.count('"record":') == 7
    assert "truncated" in (out / "a" / "run.json").read_text()
    assert not secrets_in(printed.out, printed.err)
    assert list((tmp_path / "cache").rglob("*"))
    assert list((tmp_path / "why").rglob("*"))
    assert not files_with_secrets(tmp_path)
