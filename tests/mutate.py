"""Deliberate faults: how many of them do the fast tests notice?

`make mutate` changes one operator, constant, condition or call at a time in the rooms where a
silent fault would hurt most, runs that room's fast tests, and lists the faults that no test
noticed. Faults are drawn by a seed, as many from each room as `--count` says, so the same command
draws the same ones. The files on disk are never changed: each fault lives in a process of its own.
"""

import argparse
import ast
import importlib.abc
import importlib.util
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOTICED, SURVIVED, HUNG = "noticed", "SURVIVED", "noticed (time)"
LIMIT = 120.0  # seconds for the tests of one fault; a fault that makes them hang is noticed
AIM = 0.9  # share of the faults that must be noticed


@dataclass(frozen=True, kw_only=True)
class Room:
    """Files to put faults into, and the fast tests that should notice them.

    Tests stop at the first that fails, so the fastest files come first. A folder stands for all
    of its files that are not named before it.
    """

    files: tuple[str, ...]
    tests: tuple[str, ...]


STRATEGIES = ("tests/contracts/test_strategy_contract.py",)
# These take milliseconds. They come first: the tests of a fault stop at the first that fails.
QUICK_ROUNDS = (
    "tests/server/rounds/test_prepared_rounds.py",
    "tests/server/rounds/test_merged_progress.py",
    "tests/server/rounds/test_validated_progress.py",
    "tests/server/rounds/test_sending_requests.py",
    "tests/server/rounds/test_reply_validation.py",
    "tests/server/rounds/test_site_sampling.py",
    "tests/server/rounds/test_checkpoints.py",
    "tests/server/rounds/test_final_evaluation.py",
    "tests/server/rounds/test_training_results.py",
)
QUICK_AGGREGATION = (
    "tests/server/aggregation/test_update_weights.py",
    "tests/server/aggregation/test_strategy_memory.py",
    "tests/server/aggregation/test_strategies.py",
    "tests/server/rounds/test_merged_progress.py",
)
ROOMS = {
    "partitions": Room(
        files=("partitions/[!_]*.py",),
        tests=(
            *("tests/partitions/test_shares.py", "tests/partitions/test_patients.py"),
            *("tests/partitions/test_partition_file.py", "tests/partitions/test_summary_counts.py"),
            "tests/partitions/test_sites_of_sources.py",
            *("tests/partitions/test_recorder_faults.py", "tests/partitions"),
        ),
    ),
    "rounds": Room(
        files=("server/rounds/*.py",),
        tests=(*QUICK_ROUNDS, "tests/server/rounds", "tests/server/baselines"),
    ),
    "aggregation": Room(
        files=("server/aggregation/*.py",),
        tests=(
            *QUICK_AGGREGATION,
            *(*STRATEGIES, "tests/server/aggregation", "tests/server/rounds"),
        ),
    ),
    "local objectives": Room(
        files=(
            *("clients/local_*.py", "clients/local_objectives/*.py"),
            *("clients/client_state.py", "clients/personalization.py"),
        ),
        tests=(
            *("tests/clients/test_client_state.py", "tests/clients/test_personalization.py"),
            *("tests/clients/test_site_answers.py", "tests/clients/local_objectives"),
            *(*STRATEGIES, "tests/clients", "tests/server/rounds"),
        ),
    ),
    "evaluation": Room(files=("fl/evaluation/*.py",), tests=("tests/fl/evaluation",)),
    "egress": Room(files=("fl/privacy/egress_policy.py",), tests=("tests/fl/privacy",)),
}

Span = tuple[int, int, str]  # bytes of the source that are replaced, and by what


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One change of one file."""

    path: str
    line: int
    before: str
    after: str
    source: str  # the whole file with the fault

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.before.strip()}  ->  {self.after.strip()}"


def main() -> int:
    """Exit code 0 if at least nine in ten faults are noticed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=20, help="faults per room [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="which faults are drawn [%(default)s]")
    parser.add_argument("--rooms", default=",".join(ROOMS), help="comma between names [all]")
    parser.add_argument("--workers", type=int, default=2, help="faults at a time [%(default)s]")
    options = parser.parse_args()
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    faults = [
        (name, fault)
        for name in options.rooms.split(",")
        for fault in drawn(ROOMS[name], options.count, options.seed)
    ]
    _load_libraries()
    rooms = dict.fromkeys(name for name, _ in faults)
    untouched = [(name, _no_fault(ROOMS[name])) for name in rooms]
    if set(run_all(untouched, options.workers)) != {SURVIVED}:
        print("The tests fail without a fault: mend them first.", file=sys.stderr)
        return 2
    return report(faults, run_all(faults, options.workers))


def _no_fault(room: Room) -> Fault:
    """The first file of a room as it is: its tests must pass."""
    path = sorted(Path().glob(room.files[0]))[0]
    return Fault(path=str(path), line=0, before="as", after="it is", source=path.read_text())


def report(faults: Sequence[tuple[str, Fault]], verdicts: Sequence[str]) -> int:
    """Print what survived and the share noticed, by room and in all."""
    print("\nNot noticed:")
    for (name, fault), verdict in zip(faults, verdicts, strict=True):
        if verdict == SURVIVED:
            print(f"  [{name}] {fault}")
    print()
    for name in dict.fromkeys(name for name, _ in faults):
        own = [v for (room, _), v in zip(faults, verdicts, strict=True) if room == name]
        print(f"{name:18} {sum(v != SURVIVED for v in own):3} of {len(own)} noticed")
    share = sum(v != SURVIVED for v in verdicts) / len(verdicts)
    print(f"{'all':18} {share:.0%} of {len(verdicts)} noticed; at least {AIM:.0%} are wanted")
    return 0 if share >= AIM else 1


def drawn(room: Room, count: int, seed: int) -> list[Fault]:
    """Faults drawn evenly from everything that could be changed in the room's files."""
    paths = sorted({path for pattern in room.files for path in Path().glob(pattern)})
    possible = [fault for path in paths for fault in faults_of(path)]
    chosen = random.Random(seed).sample(range(len(possible)), min(count, len(possible)))
    return [possible[i] for i in sorted(chosen)]


def faults_of(path: Path) -> Iterator[Fault]:
    """Every fault that can be put into a file, one at a time."""
    source = path.read_bytes()
    if path.name == "__init__.py":
        return
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    tree = ast.parse(source)
    skipped = _without_effect(tree)
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        for start, end, text in _changes(node, source, starts):
            changed = source[:start] + text.encode() + source[end:]
            number = source[:start].count(b"\n")
            new_lines = changed.splitlines()
            yield Fault(
                path=str(path),
                line=number + 1,
                before=lines[number].decode().rstrip(),
                after=new_lines[number].decode().rstrip(),
                source=changed.decode(),
            )


def _without_effect(tree: ast.Module) -> set[int]:
    """Nodes in which a change is no fault: annotations, texts of errors, type aliases."""
    found: set[int] = set()
    for node in ast.walk(tree):
        parts: list[ast.AST | None] = []
        if isinstance(node, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom):
            parts = [node]
        elif isinstance(node, ast.FunctionDef):
            arguments = [a for a in ast.walk(node.args) if isinstance(a, ast.arg)]
            parts = [node.returns, *(argument.annotation for argument in arguments)]
        elif isinstance(node, ast.ClassDef):
            if any("Protocol" in ast.unparse(base) for base in node.bases):
                parts = [node]
        elif isinstance(node, ast.AnnAssign):
            parts = [node.annotation]
        elif isinstance(node, ast.Assign) and "NDArray" in ast.unparse(node.value):
            parts = [node]
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            parts = [node]  # a docstring
        elif isinstance(node, ast.Call | ast.keyword) and _notes_only(node):
            parts = [node]
        for part in parts:
            if part is not None:
                found |= {id(inner) for inner in ast.walk(part)}
    return found


def _notes_only(node: ast.Call | ast.keyword) -> bool:
    """Whether it tells readers and type checkers more than it does at run time."""
    if isinstance(node, ast.keyword):
        return node.arg in ("strict", "kw_only", "frozen")
    return _name(node.func) in ("cast", "TypeVar", "dataclass")


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")


COMPARISONS = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.In: "not in",
    ast.NotIn: "in",
    ast.Is: "is not",
    ast.IsNot: "is",
}
ARITHMETIC = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*"}
LOGIC = {ast.And: "or", ast.Or: "and", ast.BitOr: "&", ast.BitAnd: "|"}
OPERATORS = COMPARISONS | ARITHMETIC | LOGIC
PAIRS = ("min", "max"), ("any", "all"), ("ceil", "floor"), ("argmax", "argmin")
CALLS = dict([*PAIRS, *(pair[::-1] for pair in PAIRS), ("sum", "prod"), ("mean", "sum")])


def _changes(node: ast.AST, source: bytes, starts: Sequence[int]) -> Iterator[Span]:
    """The faults that one node of the syntax tree offers."""

    def span(of: ast.AST) -> tuple[int, int]:
        return (
            starts[of.lineno - 1] + of.col_offset,  # type: ignore[attr-defined]
            starts[of.end_lineno - 1] + of.end_col_offset,  # type: ignore[attr-defined]
        )

    def between(left: ast.AST, right: ast.AST, new: str) -> Iterator[Span]:
        start, end = span(left)[1], span(right)[0]
        gap = source[start:end].decode()
        if "#" not in gap and "(" not in gap and ")" not in gap:
            yield start, end, f" {new} "

    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        yield from between(node.left, node.comparators[0], OPERATORS[type(node.ops[0])])
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        yield from between(node.left, node.right, OPERATORS[type(node.op)])
    elif isinstance(node, ast.BoolOp):
        for left, right in zip(node.values, node.values[1:], strict=False):
            yield from between(left, right, OPERATORS[type(node.op)])
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield span(node)[0], span(node.operand)[0], ""
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield (*span(node), str(not node.value))
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield (*span(node), repr(node.value + 1 if node.value != 0.5 else 0.7))
    elif isinstance(node, ast.Call) and _name(node.func) in CALLS:
        start, end = span(node.func)
        yield end - len(_name(node.func)), end, CALLS[_name(node.func)]
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield (*span(node), "pass")  # a step is left out
    elif isinstance(node, ast.AugAssign) and type(node.op) in (ast.Add, ast.BitOr):
        yield span(node.target)[1], span(node.value)[0], " = "
    elif isinstance(node, ast.If | ast.IfExp):
        start, end = span(node.test)
        yield start, end, f"not ({source[start:end].decode()})"


def run_all(faults: Sequence[tuple[str, Fault]], workers: int) -> list[str]:
    """The verdict on each fault, several at a time; each is printed as it is known."""
    verdicts, running = [""] * len(faults), dict[int, tuple[int, float]]()
    waiting = list(range(len(faults)))
    while waiting or running:
        while waiting and len(running) < workers:
            number = waiting.pop(0)
            name, fault = faults[number]
            running[_start(fault, ROOMS[name].tests)] = number, time.monotonic()
        time.sleep(0.05)
        for process, (number, began) in list(running.items()):
            ended, status = os.waitpid(process, os.WNOHANG)
            late = time.monotonic() - began > LIMIT
            if late:
                os.killpg(process, signal.SIGKILL)
                os.waitpid(process, 0)
            if ended or late:
                del running[process]
                survived = not late and os.waitstatus_to_exitcode(status) == 0
                verdicts[number] = SURVIVED if survived else HUNG if late else NOTICED
                print(f"{verdicts[number]:15} {faults[number][1]}", flush=True)
    return verdicts


def _start(fault: Fault, tests: Sequence[str]) -> int:
    """A process that runs the tests over the fault; it ends with 0 if they all pass."""
    process = os.fork()
    if process:
        return process
    os.setpgid(0, 0)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    sys.meta_path.insert(0, FaultyFinder(fault))
    import pytest

    common = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts="]
    # Libraries that are loaded before the process forks are none of pytest's business.
    common += ["-W", "ignore:Module already imported"]
    common += ["-m", "not slow and not real", "-k", "array or not ray"]
    code = pytest.main([*common, *in_order(tests)])
    os._exit(0 if code == 0 else 1)


def in_order(tests: Sequence[str]) -> list[str]:
    """Each test file once, in the order given: pytest itself would sort the files of a folder."""
    files = (
        sorted(map(str, Path(path).rglob("test_*.py"))) if Path(path).is_dir() else [path]
        for path in tests
    )
    return list(dict.fromkeys(file for some in files for file in some))


class FaultyFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from the changed source, and leaves every other to Python."""

    def __init__(self, fault: Fault) -> None:
        self._name = fault.path.removesuffix(".py").replace("/", ".")
        self._fault = fault

    def find_spec(self, name, path, target=None):  # type: ignore[no-untyped-def]
        if name == self._name:
            return importlib.util.spec_from_loader(name, self, origin=self._fault.path)
        return None

    def exec_module(self, module):  # type: ignore[no-untyped-def]
        module.__file__ = str(ROOT / self._fault.path)
        exec(compile(self._fault.source, module.__file__, "exec"), module.__dict__)


def _load_libraries() -> None:
    """What every process needs and no fault changes, loaded once and shared by forking."""
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for name in ("numpy", "torch", "scipy.signal", "sklearn.metrics", "flwr.app", "hypothesis"):
        importlib.import_module(name)
    for name in ("flwr.serverapp.strategy", "flwr.clientapp", "matplotlib.figure", "pytest"):
        importlib.import_module(name)


if __name__ == "__main__":
    sys.exit(main())
