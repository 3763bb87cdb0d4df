"""The pages of a run are the same whether one process writes them or several."""

import multiprocessing
import sys

import pytest
from support.federations import await_that

from fl.reports.pages import page_files, page_pool
from fl.reports.pages.page_pool import PagePool
from fl.reports.run_files import read_run


def pages(folder):
    """The index and the pages of the sites."""
    return {path.name: path.read_bytes() for path in folder.glob("report/**/*.html")}


@pytest.fixture
def two_processes(monkeypatch):
    """Pages are worth a second process at once."""
    monkeypatch.setattr(page_files, "WORTH_A_PROCESS", 0.0)
    monkeypatch.setattr(page_pool, "available_cores", lambda: 2)


def test_two_processes_write_the_pages_that_one_writes(written, copy, two_processes, monkeypatch):
    folder = copy("rhythm", "rhythm")
    run = read_run(folder)
    first, *_ = sorted(run.dealt)
    write, here = page_files._write_one, []

    def write_later(given_run, page, *rest):
        """After the first page, wait for the index, which the other process begins with."""
        if page != first:
            await_that((folder / page_files.INDEX).exists)
        here.append(page)
        return write(given_run, page, *rest)

    monkeypatch.setattr(page_files, "_write_one", write_later)
    page_files.write_pages(run, [*sorted(run.dealt), None])
    assert pages(folder) == pages(written("rhythm"))
    assert first in here
    assert None not in here
    assert not multiprocessing.active_children()


def test_pages_of_a_process_that_ends_are_written_here(written, copy, two_processes, monkeypatch):
    folder = copy("rhythm", "rhythm")
    run = read_run(folder)
    monkeypatch.setattr(page_pool, "_begin", sys.exit)
    page_files.write_pages(run, [*sorted(run.dealt), None])
    assert pages(folder) == pages(written("rhythm"))
    assert not multiprocessing.active_children()


def test_few_short_pages_need_no_second_process(copy, monkeypatch):
    folder = copy("rhythm", "rhythm")
    run = read_run(folder)
    monkeypatch.setattr(page_files, "WORTH_A_PROCESS", 1e6)
    monkeypatch.setattr(page_files, "PagePool", None)
    page_files.write_pages(run, [*sorted(run.dealt), None])
    assert pages(folder).keys() == {"index.html", *(f"{site}.html" for site in run.dealt)}


def test_processes_that_were_started_before_write_pages_from_the_first_on(written, copy):
    folder = copy("rhythm", "rhythm")
    run = read_run(folder)
    first, *_ = sorted(run.dealt)
    with PagePool(1) as pool:
        pool.write(folder, first).result()
        alone = pages(folder)
        page_files.write_pages(run, [*sorted(run.dealt), None], pool=pool)
    assert alone.keys() == {f"{first}.html"}
    assert pages(folder) == pages(written("rhythm"))
    assert not multiprocessing.active_children()


def test_processes_that_end_while_they_load_leave_all_pages_here(written, copy, monkeypatch):
    folder = copy("rhythm", "rhythm")
    monkeypatch.setattr(page_pool, "_begin", sys.exit)
    with PagePool(1) as pool:
        page_files.write_pages(read_run(folder), [*sorted(read_run(folder).dealt), None], pool=pool)
    assert pages(folder) == pages(written("rhythm"))
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(("pages", "cores", "others"), [(9, 2, 1), (9, 1, 0), (1, 8, 0), (9, 8, 3)])
def test_processes_are_no_more_than_pages_and_cores(pages, cores, others, monkeypatch):
    monkeypatch.setattr(page_pool, "available_cores", lambda: cores)
    assert page_pool.other_processes(pages) == others
