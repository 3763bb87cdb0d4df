"""The benchmark of whole runs with very many sites."""

import pytest

from benchmarks.speed.peer_adapters.workload import write_records
from benchmarks.speed.thousands import measured, table_of
from fl.ecg.tasks import BEAT


@pytest.mark.slow
def test_more_sites_than_are_shown_make_a_whole_run(tmp_path):
    write_records(tmp_path, BEAT, 500, 0)
    found = {sites: measured(tmp_path, sites, 1) for sites in (3, 42)}
    assert [case["pages"] for case in found.values()] == [1 + 3, 1 + 20]
    assert all(case["bytes"] > 0 for case in found.values())
    assert all(case["steps"] >= sites for sites, case in found.items())
    few, many = table_of(found)[2:]
    assert few.startswith("| 3 | ")
    assert many.startswith("| 42 | ")
    assert few.count("| 1.00 |") == 2
