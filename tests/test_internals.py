"""Names that other packages do not document stand only in files named `*_internals.py`."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OWN = ("fl", "partitions", "clients", "server", "heartfed", "run_sim")
FILES = sorted(
    path.relative_to(ROOT)
    for package in OWN
    for path in [*(ROOT / package).rglob("*.py"), ROOT / f"{package}.py"]
    if path.is_file()
)
INTERNALS = [path for path in FILES if path.stem.endswith("_internals")]
# The modules of Flower that its documentation lists. Its other modules are for its own use.
DOCUMENTED_BY_FLOWER = (
    *("flwr", "flwr.app", "flwr.clientapp", "flwr.clientapp.mod", "flwr.clientapp.typing"),
    *("flwr.serverapp", "flwr.serverapp.strategy", "flwr.simulation"),
)
DOCUMENTED_BY_PYTHON = {"os._exit"}


def is_private(name):
    """Whether one part of a dotted name begins with one underscore."""
    return any(part.startswith("_") and not part.startswith("__") for part in name.split("."))


def is_foreign(name):
    """Whether a dotted name is of another package, and not one that its documentation names."""
    return name.split(".")[0] not in (*OWN, "__future__") and name not in DOCUMENTED_BY_PYTHON


def is_undocumented(module, name=""):
    """Whether `import module`, or `from module import name`, takes what is not documented."""
    if not is_foreign(module):
        return False
    of_flower = module.split(".")[0] == "flwr" and module not in DOCUMENTED_BY_FLOWER
    of_uvicorn = module.startswith("uvicorn.")  # it documents what `uvicorn` itself has
    return of_flower or of_uvicorn or is_private(module) or is_private(name)


def dotted(node):
    """The name `a.b.c` of an expression; None where it does not begin with a name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (owner := dotted(node.value)):
        return f"{owner}.{node.attr}"
    return None


def undocumented_imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if is_undocumented(alias.name))
        elif isinstance(node, ast.ImportFrom):
            module = str(node.module)
            for alias in node.names:
                # `from flwr import common` takes a module.
                whole = f"{module}.{alias.name}"
                if is_undocumented(module, alias.name) or (
                    module == "flwr" and is_undocumented(whole)
                ):
                    yield whole
        elif isinstance(node, ast.Call) and (dotted(node.func) or "").endswith("import_module"):
            for given in node.args[:1]:
                if isinstance(given, ast.Constant) and is_undocumented(str(given.value)):
                    yield str(given.value)


def imported_names(tree):
    """What each imported name of a file stands for."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]
                names[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def private_attributes(tree):
    """Uses such as `torch._foreach_add_` or `strategy._state`, also by `getattr`.

    Whose object it is cannot be seen, so only an object's own (`self._x`) may be private.
    """
    names = imported_names(tree)

    def full_name(node):
        first, _, rest = (dotted(node) or "").partition(".")
        return ".".join(part for part in (names.get(first, first), rest) if part)

    for node in ast.walk(tree):
        name = ""
        if isinstance(node, ast.Attribute):
            own = dotted(node.value) in ("self", "cls")
            name = full_name(node) or f"?.{node.attr}"
            private = is_private(node.attr) and not own
        elif isinstance(node, ast.Call) and dotted(node.func) in ("getattr", "setattr", "delattr"):
            attribute = node.args[1]
            private = isinstance(attribute, ast.Constant) and is_private(str(attribute.value))
            name = ast.unparse(node)
        if name and is_foreign(name) and (private or is_undocumented_module(name)):
            yield name


def is_undocumented_module(name):
    """Whether `flwr.a.b` goes through a module that Flower does not document."""
    first, *rest = name.split(".")
    return first == "flwr" and bool(rest) and f"flwr.{rest[0]}" not in DOCUMENTED_BY_FLOWER


def writes_to_dict(tree):
    """Writes past an object's own attributes, as `x.__dict__["_y"] = 1` or `vars(x)["_y"] = 1`."""

    def is_dict(node):
        return (isinstance(node, ast.Attribute) and node.attr == "__dict__") or (
            isinstance(node, ast.Call) and dotted(node.func) == "vars" and bool(node.args)
        )

    for node in ast.walk(tree):
        changed = isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del)
        if changed and is_dict(node.value):
            yield ast.unparse(node)
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("update", "setdefault", "pop", "clear", "popitem")
            and is_dict(node.func.value)
        ):
            yield ast.unparse(node.func)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_dict(node):
            yield ast.unparse(node)


def undocumented(source):
    """Everything in a file's text that other packages do not document."""
    tree = ast.parse(source)
    return sorted({*undocumented_imports(tree), *private_attributes(tree), *writes_to_dict(tree)})


def stated_versions(path):
    """The versions that a file says it was tested on: constants TESTED or FLOWER_VERSIONS."""
    versions = []
    for node in ast.parse((ROOT / path).read_text()).body:
        name = dotted(node.targets[0]) if isinstance(node, ast.Assign) else None
        if name and re.fullmatch("TESTED|[A-Z]+_VERSIONS", name):
            versions += ast.literal_eval(node.value)
    return versions


@pytest.mark.parametrize("path", [p for p in FILES if p not in INTERNALS], ids=str)
def test_other_files_use_documented_names_only(path):
    assert undocumented((ROOT / path).read_text()) == []


@pytest.mark.parametrize("path", INTERNALS, ids=str)
def test_internals_name_the_exact_versions_they_were_tested_on(path):
    versions = stated_versions(path)
    assert versions, f"{path}: no constant such as FLOWER_VERSIONS = ('1.41.0',)"
    assert all(re.fullmatch(r"\d+(\.\d+)+", number) for number in versions)


@pytest.mark.parametrize(
    "source",
    [
        "import ray._private.node",
        "from ray import _raylet",
        "from ray._private import node",
        "import ray\nray._private.services.start()",
        "import importlib\nimportlib.import_module('ray._raylet')",
        "import flwr.proto",
        "from flwr import supercore",
        "from flwr.supernode.nodestate import NodeState",
        "from flwr.common.constant import ErrorCode",
        "from flwr.app.user_config import UserConfig",
        "import flwr\nflwr.server.start_server()",
        "def f():\n    from flwr.superlink import grid",
        "from uvicorn.protocols.http.h11_impl import H11Protocol",
        "import torch\ntorch._foreach_add_([], [])",
        "from torch import _C",
        "import torch\ngetattr(torch, '_dynamo')",
        "import gc\ngc._own",
        "strategy._state = 1",
        "message.metadata.__dict__['_message_id'] = 1",
        "self.__dict__.update(a=1)",
        "vars(message)['_x'] = 1",
        "del message.__dict__['_x']",
    ],
)
def test_an_undocumented_name_is_noticed(source):
    assert undocumented(source) != []


@pytest.mark.parametrize(
    "source",
    [
        "from __future__ import annotations",
        "from flwr.app import Message\nfrom flwr.serverapp.strategy import FedAvg",
        "from flwr.clientapp import ClientApp\nfrom flwr.simulation import run_simulation",
        "from fl.training import _own\nimport fl\nfl._private",
        "import torch\ntorch.__version__\nself._private = torch.nn.Module()",
        "facts = vars(plan)['seed'], self.__dict__['x']",
        "import os\nos._exit(0)",
        "class A:\n    def __init__(self, b):\n        self._a = b\n        self._a.x()",
    ],
)
def test_a_documented_name_is_allowed(source):
    assert undocumented(source) == []
