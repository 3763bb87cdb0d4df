"""A module loads without garbage collection, once, and collection goes on."""

import gc
import sys

import pytest

from fl.util.imports.fast_import import import_fast


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module that notes whether garbage is collected as it loads."""
    (tmp_path / "noting_module.py").write_text("import gc\ncollected = gc.isenabled()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "noting_module", raising=False)
    yield "noting_module"
    sys.modules.pop("noting_module", None)


def test_garbage_is_not_collected_while_a_module_loads(module):
    assert not import_fast(module).collected
    assert gc.isenabled()


def test_a_loaded_module_freezes_nothing_more(module, monkeypatch):
    found = import_fast(module)
    monkeypatch.setattr(gc, "freeze", lambda: pytest.fail("frozen again"))
    assert import_fast(module) is found


def test_collection_goes_on_after_a_module_that_cannot_be_loaded():
    with pytest.raises(ModuleNotFoundError):
        import_fast("no_such_module_anywhere")
    assert gc.isenabled()
