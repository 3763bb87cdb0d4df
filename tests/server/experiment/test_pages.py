"""Processes for pages start early after a long training, and write what one process writes."""

from types import SimpleNamespace

import pytest
from support.made_runs import QUICK

import run_sim
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


def test_a_run_has_all_its_pages_with_them(tmp_path, monkeypatch):
    calls, write = [], pools.PagePool.write

    def noted(pool, folder, page):
        calls.append(page)
        return write(pool, folder, page)

    monkeypatch.setattr(pools.PagePool, "write", noted)
    monkeypatch.setattr(pages, "LONG", 0.0)
    flags = [flag for flag in QUICK if flag != "--no-pages"]
    out = ["--out", str(tmp_path), "--name", "run"]
    assert run_sim.main([*flags, "--rounds", "1", *out]) == 0
    assert None in calls  # the index, which another process begins with
    found = {path.stem for path in (tmp_path / "run").glob("report/**/*.html")}
    assert found == {"index", "site-1", "site-2", "site-3"}
