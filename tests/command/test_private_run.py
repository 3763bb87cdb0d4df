"""A whole run with the umask that hides nothing leaves nothing that others may read."""

import os
import stat

import run_sim

TINY = [
    *("--data", "synthetic", "--synthetic-records", "60", "--clients", "2", "--rounds", "1"),
    *("--model", "resnet1d", "--engine", "local", "--partition", "patients", "--workers", "1"),
    *("--local-epochs", "1", "--quiet", "--name", "run"),
]


def test_a_run_with_umask_000_is_its_owners_alone(tmp_path):
    before = os.umask(0)
    try:
        given = [*TINY, "--out", str(tmp_path / "out"), "--cache-dir", str(tmp_path / "cache")]
        assert run_sim.main(given) == 0
        assert os.umask(0) == 0  # it is put back
    finally:
        os.umask(before)
    found = list(tmp_path.rglob("*"))
    assert {"run.json", "fedavg-best.safetensors", "index.html"} <= {path.name for path in found}
    assert [p for p in found if stat.S_IMODE(p.stat().st_mode) & 0o077] == []
