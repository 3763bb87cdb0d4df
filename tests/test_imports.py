"""Imports point one way, Flower stays at the edges, and nobody is told of our runs."""

import ast
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("fl", "partitions", "clients", "server", "heartfed")
FILES = [path for part in PACKAGES for path in (ROOT / part).rglob("*.py")]
MODULES = sorted(path.relative_to(ROOT) for path in [*FILES, ROOT / "run_sim.py"])
MAY_IMPORT = {
    "fl": {"fl"},
    "partitions": {"partitions", "fl"},
    "clients": {"clients", "partitions", "fl"},
    "server": {"server", "partitions", "fl"},
    "heartfed": {"heartfed", "server", "clients", "partitions", "fl", "run_sim"},
    "run_sim.py": {"server", "clients", "partitions", "fl"},
}
# A room of fl imports from itself and from the rooms before it. A room's `__main__.py` is a
# command, which joins rooms as run_sim.py does: it may import any of them.
ROOMS_OF_FL = (
    *("util", "ecg", "config", "datasets", "data", "models", "training", "evaluation"),
    *("privacy", "messages", "runs", "explain", "reports", "predict", "monitor"),
)
COMMAND = "__main__.py"
LOOSE = {"fl": set(), "server": {"app.py"}}  # files outside the rooms, beside __init__.py
MOST_ENTRIES = 16  # of a folder


@cache
def imports_of(path):
    """Every module that a file imports, in functions too, `from a import b` as `a` and `a.b`."""
    names = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def may_use_flower(path):
    return path.parts[0] in ("server", "heartfed", "run_sim.py") or path.as_posix() in (
        "fl/messages/flower_codec.py",
        "fl/messages/flower_arrays.py",
        "fl/messages/flower_records.py",
        "fl/messages/flower_secure_codec.py",
        "fl/messages/array_internals.py",
        "fl/messages/message_facts.py",
        "fl/messages/reply_signature.py",
        "clients/app.py",
        "clients/deploy/supernode_internals.py",
        "clients/deploy/task_runner_internals.py",
    )


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_packages_import_one_way(path):
    own = {name.split(".")[0] for name in imports_of(path)} & {*PACKAGES, "run_sim"}
    assert own <= MAY_IMPORT[path.parts[0]]


@pytest.mark.parametrize("path", [p for p in MODULES if p.parts[0] == "fl"], ids=str)
def test_rooms_of_fl_import_one_way(path):
    if len(path.parts) == 2 or path.name == COMMAND:
        return  # fl/__init__.py, or a command
    before = ROOMS_OF_FL[: ROOMS_OF_FL.index(path.parts[1]) + 1]
    rooms = {name.split(".")[1] for name in imports_of(path) if name.startswith("fl.")}
    assert rooms & set(ROOMS_OF_FL) <= set(before)


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_only_heartfeds_command_line_imports_a_command(path):
    if path.parts[0] == "heartfed":
        return
    assert not [name for name in imports_of(path) if "__main__" in name.split(".")]


def modules_imported(path, modules):
    """The project's modules that a file imports; `from package import module` is the module."""
    found = set()
    for name in imports_of(path) & modules.keys():
        inside = {
            other for other in imports_of(path) & modules.keys() if other.startswith(f"{name}.")
        }
        found |= inside or {name}
    return found


def test_no_two_modules_import_each_other():
    modules = {
        ".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in MODULES
    }
    graph = {name: modules_imported(path, modules) - {name} for name, path in modules.items()}
    while leaves := [name for name, needed in graph.items() if not needed]:
        graph = {name: needed - set(leaves) for name, needed in graph.items() if name not in leaves}
    assert graph == {}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_flower_stays_at_the_edges(path):
    used = {name.split(".")[0] for name in imports_of(path)}
    assert may_use_flower(path) or "flwr" not in used


def test_every_file_has_a_room():
    for package, allowed in LOOSE.items():
        loose = {path.name for path in (ROOT / package).glob("*.py")} - {"__init__.py"}
        assert loose == allowed


@pytest.mark.parametrize("package", PACKAGES)
def test_no_room_is_crowded(package):
    for folder in {path.parent for path in (ROOT / package).rglob("*.py")}:
        entries = [p for p in folder.iterdir() if not p.name.startswith(("__", "."))]
        assert len(entries) <= MOST_ENTRIES, folder


def test_ray_and_flower_report_no_usage():
    code = (
        "import os, fl;"
        "print(os.environ['FLWR_TELEMETRY_ENABLED'], os.environ['RAY_USAGE_STATS_ENABLED'])"
    )
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FLWR_", "RAY_"))}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=kept, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["0", "0"]


@pytest.mark.parametrize("package", [*PACKAGES, "benchmarks"])
def test_linear_algebra_has_one_thread(package):
    script = (
        f"import {package}, scipy.linalg, threadpoolctl\n"
        "pools = [p for p in threadpoolctl.threadpool_info() if p['user_api'] == 'blas']\n"
        "print(*{p['num_threads'] for p in pools if p['internal_api'] == 'openblas'})"
    )
    environment = {key: value for key, value in os.environ.items() if "_THREADS" not in key}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() in (["1"], []), "NumPy was loaded before its threads were limited"
