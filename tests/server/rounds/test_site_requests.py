"""How the server finds its sites before a run begins."""

import pytest
from support.rounds import run

from fl.util.errors import FederationError
from server.engines.in_process import LocalGrid


def test_a_site_that_cannot_start_stops_the_run(make_job):
    def client(message, context):
        raise OSError("no such folder")

    with pytest.raises(FederationError, match="no such folder"):
        run(make_job(2), client)


class LateGrid(LocalGrid):
    """Sites join one by one, after the server has begun to ask."""

    joined = 0

    def get_node_ids(self):
        self.joined += 1
        return super().get_node_ids()[: self.joined - 1]


def test_a_run_waits_for_sites_that_join_late(make_job):
    watching, _ = run(make_job(3), grid=LateGrid)
    assert [row.participants for row in watching.rows] == [3, 3]


def test_sites_that_never_join_are_waited_for_no_longer_than_the_timeout(make_job):
    class Empty(LocalGrid):
        def get_node_ids(self):
            return []

    with pytest.raises(FederationError, match="0 of 2 sites joined within"):
        run(make_job(2, timeout=0.2), grid=Empty)
