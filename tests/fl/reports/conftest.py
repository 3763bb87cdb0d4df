"""Runs that the pages are tested on, each made once per session."""

import shutil
from pathlib import Path

import pytest
from support import made_runs

from fl.reports.build import write_report


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    """A run's folder without pages, by name; made when it is first asked for. Not to be changed."""
    out, folders = tmp_path_factory.mktemp("plain"), {}

    def folder(name):
        if name not in folders:
            folders[name] = made_runs.make(out, name)
        return folders[name]

    return folder


@pytest.fixture(scope="session")
def written(plain, tmp_path_factory):
    """The same with pages; `compared` is `rhythm` with a comparison. Not to be changed."""
    out, folders = tmp_path_factory.mktemp("written"), {}

    def folder(name):
        if name not in folders:
            base = "rhythm" if name == "compared" else name
            folders[name] = out / name
            shutil.copytree(plain(base), out / name)
            if name == "compared":
                made_runs.compare(out / name)
            write_report(out / name)
        return folders[name]

    return folder


@pytest.fixture
def copy(plain, tmp_path):
    """A run without pages that a test may change."""

    def folder(name, as_name="run"):
        return Path(shutil.copytree(plain(name), tmp_path / as_name))

    return folder
