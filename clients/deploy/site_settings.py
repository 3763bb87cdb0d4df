"""The settings of a hospital's site, without loading anything that trains."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fl.privacy.egress_policy import SITE
from fl.util.errors import ConfigError

if TYPE_CHECKING:
    from fl.config.run_config import RunConfig

MIN_COUNT = 5  # patients of a class, below which its counts stay at the site


@dataclass(frozen=True, kw_only=True)
class SiteSettings:
    """A site's own settings: its name, where its recordings are, the smallest count that leaves."""

    site: str
    data_dir: str
    folder: str  # for what stays here: splits, optimizer states, predictions, reports
    task: str = "rhythm"
    sources: str = ""  # data sets, or NAME=FOLDER; empty: those found in data_dir
    cache_dir: str = ""
    min_count: int = MIN_COUNT
    device: str = "cpu"
    ignore_checksums: bool = False  # also use recordings that do not match their checksums

    def __post_init__(self) -> None:
        if not SITE.fullmatch(self.site):
            raise ConfigError(
                f"--site is {self.site!r}. A site's name has letters, digits, '-' and '_'."
            )
        for name, value in asdict(self).items():
            if isinstance(value, str) and ('"' in value or "'" in value):
                raise ConfigError(f"--{name.replace('_', '-')} {value}: quotes cannot be used.")

    @classmethod
    def from_node(cls, config: Mapping[str, Any]) -> "SiteSettings":
        """The settings from the form that `node_config` made."""
        return cls(**{str(k).replace("-", "_"): v for k, v in config.items()})

    def node_config(self) -> str:
        """The settings as `flower-supernode --node-config` takes them."""
        items = asdict(self).items()
        return " ".join(f"{k.replace('_', '-')}={json.dumps(v)}" for k, v in items)

    def run_config(self) -> "RunConfig":
        """The settings of a run that reads these recordings: real ones or none."""
        # Imported here: it loads the signal filters, which the making of a key does not need.
        from fl.config.config_file import load_config

        names = ("task", "data_dir", "sources", "ignore_checksums")
        chosen = {name: getattr(self, name) for name in names}
        return load_config(chosen | {"data": "real"})


def is_deployed(node_config: Mapping[str, Any]) -> bool:
    """Whether a client acts for a hospital, and not for a site of a simulation."""
    return "site" in node_config
