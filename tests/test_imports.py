"""Imports point one way, Flower stays at the edges, and nobody is told of our runs."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("fl", "partitions", "clients", "server")
FILES = [path for part in PACKAGES for path in (ROOT / part).rglob("*.py")]
MODULES = sorted(path.relative_to(ROOT) for path in [*FILES, ROOT / "run_sim.py"])
MAY_IMPORT = {
    "fl": {"fl"},
    "partitions": {"partitions", "fl"},
    "clients": {"clients", "partitions", "fl"},
    "server": {"server", "partitions", "fl"},
    "run_sim.py": {"server", "clients", "partitions", "fl"},
}


def imported(path):
    """Top names of all modules a file imports, in functions too."""
    names = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names.add(str(node.module).split(".")[0])
    return names


def may_use_flower(path):
    return path.parts[0] in ("server", "run_sim.py") or path.as_posix() in (
        "fl/wire.py",
        "clients/app.py",
        "clients/supernode.py",
        "clients/worker.py",
    )


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_arrows_point_one_way(path):
    own = imported(path) & {*PACKAGES, "run_sim"}
    assert own <= MAY_IMPORT[path.parts[0]]


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_flower_stays_at_the_edges(path):
    assert may_use_flower(path) or "flwr" not in imported(path)


def test_ray_and_flower_report_no_usage():
    code = (
        "import os, fl;"
        "print(os.environ['FLWR_TELEMETRY_ENABLED'], os.environ['RAY_USAGE_STATS_ENABLED'])"
    )
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FLWR_", "RAY_"))}
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=kept, capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == ["0", "0"]
