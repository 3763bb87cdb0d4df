"""Processes for pages start early after a long training, and write what one process writes."""

import math
from types import SimpleNamespace

import pytest
from support.made_runs import QUICK

import run_sim
from fl.reports.pages import page_files
from fl.reports.pages import page_pool as pools
from server.experiment import pages


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch):
    monkeypatch.setattr(pools, "available_cores", lambda: 2)


@pytest.mark.parametrize(
    ("wanted", "seconds", "started"),
    [(True, pages.LONG, True), (True, pages.LONG - 1, False), (False, pages.LONG, False)],
)
def test_only_a_long_training_that_has_pages_starts_them(wanted, seconds, started):
    prepared = SimpleNamespace(sites=[{"site": "site-1"}, {"site": "site-2"}])
    record = SimpleNamespace(content={"seconds": {"training": seconds}})
    with pages.page_pool(wanted, prepared, record) as pool:
        assert (pool is not None) == started
        assert pool is None or pool.processes == 1


def written(out, name):
    flags = [flag for flag in QUICK if flag != "--no-pages"]
    assert run_sim.main([*flags, "--rounds", "1", "--out", str(out), "--name", name]) == 0
    return {path.name: path.read_bytes() for path in (out / name).glob("report/**/*.html")}


def test_a_run_has_the_same_pages_with_them(tmp_path, monkeypatch):
    calls, write = [], pools.PagePool.write

    def noted(pool, folder, page):
        calls.append(page)
        return write(pool, folder, page)

    monkeypatch.setattr(pools.PagePool, "write", noted)
    monkeypatch.setattr(page_files, "WORTH_A_PROCESS", math.inf)
    alone = written(tmp_path, "run")
    assert not calls
    monkeypatch.setattr(pages, "LONG", 0.0)
    together = written(tmp_path / "again", "run")
    assert calls
    assert together.keys() == alone.keys()
    assert len(alone) == 4
