"""When a simulation waits for the disk: at each visit of few sites, or once for very many."""

import pytest

from fl.config.config_file import load_config
from fl.messages.job import FEW_SITES, Job


@pytest.mark.parametrize(
    ("n_sites", "settings", "run", "at_checkpoint"),
    [
        (FEW_SITES, {}, "", False),
        (FEW_SITES + 1, {}, "", True),
        (2, {"ray_address": "auto"}, "", True),  # the server writes the files, without waiting
        (FEW_SITES + 1, {}, "a-run", False),  # hospitals wait for their own
    ],
    ids=["few", "many", "cluster", "deployed"],
)
def test_who_waits_for_the_disk(n_sites, settings, run, at_checkpoint):
    job = Job(config=load_config(settings), strategy="fedavg", n_sites=n_sites, run=run)
    assert job.synced_at_checkpoint == at_checkpoint
