"""A module's import can be taken part in once, and stays an import."""

import importlib.util
import sys

import pytest

from fl.util.imports.import_hooks import load_by


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module that is not loaded yet."""
    (tmp_path / "hooked_module.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.delitem(sys.modules, "hooked_module", raising=False)
    yield "hooked_module"
    sys.modules.pop("hooked_module", None)


def test_a_module_is_loaded_by_what_was_given(module):
    def load(execute, loaded):
        execute(loaded)
        loaded.value += 1

    before = list(sys.meta_path)
    load_by(module, load)
    assert importlib.util.find_spec(module).origin.endswith("hooked_module.py")  # not yet
    found = importlib.import_module(module)
    assert found.value == 2
    assert found.__spec__.origin.endswith("hooked_module.py")
    assert found.__spec__.loader.get_source(module) == "value = 1\n"
    assert found.__loader__ is found.__spec__.loader
    assert sys.meta_path == before
    sys.modules.pop(module)
    assert importlib.import_module(module).value == 1  # once


def test_a_module_that_is_loaded_stays_as_it_is(module):
    found, before = importlib.import_module(module), list(sys.meta_path)
    load_by(module, lambda execute, loaded: pytest.fail("loaded again"))
    assert importlib.import_module(module) is found
    assert sys.meta_path == before


def test_an_error_of_the_module_is_its_importers(module):
    def load(execute, loaded):
        execute(loaded)
        raise ValueError("in the hook")

    load_by(module, load)
    with pytest.raises(ValueError, match="in the hook"):
        importlib.import_module(module)
    assert module not in sys.modules
