"""How many sites of a round must answer before their updates are merged."""

import pytest

from fl.util.errors import FederationError
from server.rounds.merging import RoundUpdates, require_quorum


def updates(asked, answered):
    sites = [f"site-{number}" for number in range(1, asked + 1)]
    return RoundUpdates(
        number=4,
        requests=dict.fromkeys(sites),
        shared={},
        trained=dict.fromkeys(sites[:answered]),
    )


@pytest.mark.parametrize(
    ("asked", "quorum", "needed"),
    [(3, 0.5, 2), (5, 0.5, 3), (4, 0.5, 2), (3, 0.34, 2), (3, 1.0, 3)],
)
def test_the_quorum_is_rounded_up(asked, quorum, needed):
    require_quorum(updates(asked, needed), [], quorum)
    failures = [{"site": "site-3", "reason": "train: lost"}]
    with pytest.raises(FederationError, match=rf"Round 4: .*quorum is {needed} .*site-3: train"):
        require_quorum(updates(asked, needed - 1), failures, quorum)
