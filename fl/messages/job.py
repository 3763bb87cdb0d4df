"""A run as its workers and sites know it."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from fl.config.run_config import RunConfig

# Up to so many simulated sites each do everything by themselves. With more, what a site does beside
# its training takes as long as that: the server waits once for the disk, and small sites predict
# together.
FEW_SITES = 32


class Job(BaseModel):
    """A run as its workers know it: settings, and where the simulation keeps things.

    A deployed site knows its own folders and is sent neither workspace nor shards.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: RunConfig
    strategy: str  # name under which this training is reported
    workspace: str = ""  # run directory
    shards: tuple[str, ...] = ()  # cache folders
    n_sites: int = 0  # sites that train; 0: as many as the settings say, none is held out
    run: str = ""  # deployed: the run's name, under which a site keeps what stays there
    version: str = ""  # deployed: of the coordinator's program
    nodes: dict[str, int] = {}  # deployed: site -> the node whose key was approved for it

    @property
    def expected_sites(self) -> int:
        """How many sites to wait for."""
        return self.n_sites or self.config.clients

    @property
    def deployed(self) -> bool:
        """Whether the sites are hospitals, and not parts of a simulation."""
        return bool(self.run)

    @property
    def synced_at_checkpoint(self) -> bool:
        """Whether what simulated sites keep is brought to the disk before a checkpoint.

        On a cluster their files come to the server, which does not wait for each of them.
        """
        many = self.expected_sites > FEW_SITES or bool(self.config.ray_address)
        return many and not self.deployed

    @property
    def shares_batches(self) -> bool:
        """Whether simulated sites with few records share the network's batches to predict them."""
        return self.expected_sites > FEW_SITES and not self.deployed and self.config.device == "cpu"

    def for_sites(self) -> "Job":
        """The part that a site is sent: a hospital has no use for the coordinator's folders."""
        if not self.deployed:
            return self
        init_from = Path(self.config.init_from).name
        config = self.config.model_copy(
            update={"data_dir": "", "sources": "", "init_from": init_from}
        )
        return self.model_copy(
            update={"config": config, "workspace": "", "shards": (), "nodes": {}}
        )
