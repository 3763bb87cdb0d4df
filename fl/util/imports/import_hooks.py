"""Take part in the import of another package's module, at its first import."""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

Execute = Callable[[ModuleType], None]  # runs a module's text, as Python would
Load = Callable[[Execute, ModuleType], None]


def load_by(name: str, load: Load) -> None:
    """Let `load(execute, module)` load a module when it is first imported; too late: no effect."""
    if name not in sys.modules:
        sys.meta_path.insert(0, _Hook(name, load))


class _Hook(MetaPathFinder):
    """Finds one module where Python finds it, and has it loaded by `load`."""

    def __init__(self, name: str, load: Load) -> None:
        self._name, self._load = name, load

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self._name:
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        found = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _HookedLoader(spec.loader, self)
        return spec

    def load(self, execute: Execute, module: ModuleType) -> None:
        """Load the module; whoever only asks where it is, as `importlib.util` can, does not."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        self._load(execute, module)


class _HookedLoader(Loader):
    """Python's own loader of a module, with `load` around it; afterwards the module has its own."""

    def __init__(self, loader: Loader, hook: _Hook) -> None:
        self._loader, self._hook = loader, hook

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._hook.load(self._loader.exec_module, module)
