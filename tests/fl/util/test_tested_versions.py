"""Undocumented names are used only with the versions that were tested."""

import logging
from importlib.metadata import version

from fl.util.tested_versions import is_tested, untested

RAY = version("ray")


def test_the_installed_version_is_tested_if_it_is_listed(caplog):
    assert untested({"ray": ("1.0", RAY)}) == ""
    assert is_tested({"ray": (RAY,)}, "the public way is taken.")
    assert caplog.records == []


def test_one_line_names_each_version_that_is_not_listed(caplog):
    caplog.set_level(logging.WARNING, "heartfed")
    assert not is_tested({"ray": ("1.0", "1.1"), "flwr": ()}, "the public way is taken.")
    assert caplog.messages == [
        f"ray {RAY} (tested: 1.0, 1.1), flwr {version('flwr')} (tested: none): "
        "the public way is taken."
    ]
