"""torch without its tables for compilers, until something asks for them.

The last thing that `import torch` does is to load tables that `torch.compile`, `torch.export` and
functorch need: what shape each operation gives, and how others can replace it. They take a third
of the import, every process of a run loads torch, and no network here is compiled. The first
import of something that needs them loads them. The one use that imports nothing is tensors on the
device "meta", which hold no values: call `load_tables` before it.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from fl.util.imports.import_hooks import Execute, load_by
from fl.util.tested_versions import is_tested

TORCH_VERSIONS = ("2.13.0",)  # tested; any other version loads as torch loads it
TABLES = "torch._meta_registrations"
# What must find the tables loaded: these modules import each other, and load in the tables' order
# alone.
NEED_TABLES = frozenset(
    ("torch._decomp", "torch._dynamo", "torch._inductor", "torch._prims", "torch._refs")
) | {"torch.utils._content_store"}


def postpone_tables() -> None:
    """Let torch leave its tables out when it is first imported."""
    load_by("torch", _without_tables)


def load_tables() -> None:
    """Load torch's tables, if they are not loaded yet."""
    importlib.import_module(TABLES)


def _without_tables(execute: Execute, torch: ModuleType) -> None:
    if not is_tested("torch", TORCH_VERSIONS):
        execute(torch)
        return
    sys.modules[TABLES] = ModuleType(TABLES)
    try:
        execute(torch)
    finally:
        del sys.modules[TABLES]
        vars(torch).pop(TABLES.rpartition(".")[2], None)
    # Without it torch makes no generator of random numbers. The tables' modules set it, too.
    base = importlib.import_module("torch._opaque_base")
    torch._C._set_generator_metaclass(base.OpaqueBaseMeta)
    sys.meta_path.insert(0, _TablesFinder())


class _TablesFinder(MetaPathFinder):
    """Loads the tables before the first module that needs them."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != TABLES and name not in NEED_TABLES:
            return None
        if self in sys.meta_path:  # another thread may be loading them
            sys.meta_path.remove(self)
        if name == TABLES:
            return None
        load_tables()
        loaded = sys.modules.get(name)
        if loaded is None:
            return None
        # Of a module that is there by now Python takes the spec that the module has.
        loaded.__spec__ = ModuleSpec(name, _Loaded(loaded))
        return loaded.__spec__


class _Loaded(Loader):
    """Hands out a module that was loaded while it was being looked for."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec
