"""The pages of a run's sites are the same whether one process writes them or several."""

import multiprocessing

import pytest
from support.federations import await_that

from fl.reports.pages import site_pages
from fl.reports.run_files import read_run


def pages(folder):
    return {path.name: path.read_bytes() for path in folder.glob("report/sites/*.html")}


@pytest.fixture
def two_processes(monkeypatch):
    """Pages are worth a second process at once."""
    monkeypatch.setattr(site_pages, "WORTH_A_PROCESS", 0.0)
    monkeypatch.setattr(site_pages, "available_cores", lambda: 2)


def test_two_processes_write_the_pages_that_one_writes(written, copy, two_processes, monkeypatch):
    folder = copy("rhythm", "rhythm")
    run = read_run(folder)
    first, *_, last = sorted(run.dealt)
    write, here = site_pages._write_one, []

    def write_later(given_run, site, *rest):
        """After the first page, wait for the last one, which the other process begins with."""
        if site != first:
            await_that((folder / "report" / "sites" / f"{last}.html").exists)
        here.append(site)
        return write(given_run, site, *rest)

    monkeypatch.setattr(site_pages, "_write_one", write_later)
    site_pages.write_site_pages(run, sorted(run.dealt))
    assert pages(folder) == pages(written("rhythm"))
    assert first in here
    assert last not in here
    assert not multiprocessing.active_children()


def test_pages_of_a_process_that_ends_are_written_here(written, copy, two_processes):
    folder = copy("rhythm", "rhythm")
    run = read_run(folder)
    (folder / "run.json").unlink()  # a second process cannot begin without it
    site_pages.write_site_pages(run, sorted(run.dealt))
    assert pages(folder) == pages(written("rhythm"))
    assert not multiprocessing.active_children()


def test_few_short_pages_need_no_second_process(copy, monkeypatch):
    folder = copy("rhythm", "rhythm")
    run = read_run(folder)
    monkeypatch.setattr(site_pages, "WORTH_A_PROCESS", 1e6)
    monkeypatch.setattr(site_pages, "ProcessPoolExecutor", None)
    site_pages.write_site_pages(run, sorted(run.dealt))
    assert len(pages(folder)) == len(run.dealt)
