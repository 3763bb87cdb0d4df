"""The site folder: what its files are called, and the invitation that it is made for."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from clients.deploy.site_policy.policy_file import POLICY, read_policy, write_policy
from clients.deploy.site_policy.request_rate import REQUESTS
from clients.secure_keys import PEERS
from fl.messages.invitation import Invitation
from fl.privacy.audit_log.log_file import FOLDER_NAME
from fl.util.errors import ConfigError
from fl.util.private_files import make_tree_private

SITE_KEY = "site.key"


@dataclass(frozen=True)
class SiteFolder:
    """The site's own folder: its key, the federation's certificate, logs and runs."""

    path: Path
    site: str

    @property
    def key(self) -> Path:
        return self.path / SITE_KEY

    @property
    def public_key(self) -> Path:
        return self.path / f"{self.site}.pub"

    @property
    def ca(self) -> Path:
        return self.path / "ca.pem"

    @property
    def secret(self) -> Path:
        """Known to this site's own processes alone."""
        return self.path / "supernode.secret"

    @property
    def admitted(self) -> Path:
        """Exists if the coordinator admitted this key when it was last asked."""
        return self.path / "admitted"

    @property
    def state(self) -> Path:
        """Exists while the site is at work: its process and the port of its SuperNode."""
        return self.path / "state.json"

    @property
    def policy(self) -> Path:
        """What a coordinator may ask of this site; the hospital's own to change."""
        return self.path / POLICY

    @property
    def peers(self) -> Path:
        """Public keys of other hospitals, for secure aggregation: handed over by themselves."""
        return self.path / PEERS

    @property
    def flower_home(self) -> Path:
        return self.path / "flwr"

    @property
    def log(self) -> Path:
        return self.path / "logs" / "site.log"

    def make_private(self) -> None:
        """Take what an earlier version wrote here away from all but its owner.

        Only what this program writes: --home may name a folder that holds other things too.
        """
        own = [self.log.parent, self.flower_home]
        own += [self.path / name for name in ("runs", "cache", PEERS, FOLDER_NAME)]
        files = (self.ca, self.admitted, self.state, self.policy, self.path / REQUESTS)
        for path in (*own, *files):
            make_tree_private(path)


def site_folder(options: argparse.Namespace) -> SiteFolder:
    """The site's folder, named after it unless --home names another."""
    path: Path = options.home or Path(f"heartfed-{options.site}")
    return SiteFolder(path.absolute(), options.site)


def ensure_policy(folder: SiteFolder, task: str) -> bool:
    """Write the site's policy unless there is one; `ConfigError` if there is one of no use."""
    if folder.policy.exists():
        read_policy(folder.policy)
        return False
    write_policy(folder.policy, task)
    return True


def init(options: argparse.Namespace) -> int:
    """Make the site's folder with its policy, for the hospital to read and to change."""
    invitation, folder = read_invitation(options), site_folder(options)
    made = ensure_policy(folder, invitation.task)
    print(f"{folder.policy}: {'written; ' if made else ''}what the coordinator may ask")
    return 0


def read_invitation(options: argparse.Namespace) -> Invitation:
    """The invitation, if it is for this site, whose folder is then made for its owner alone."""
    invitation = Invitation.read(options.invitation)
    if invitation.site != options.site:
        raise ConfigError(
            f"--site is {options.site!r}, but {options.invitation} invites {invitation.site!r}."
        )
    path = site_folder(options).path
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(f"--home {path}: cannot be made ({error.strerror}).") from None
    return invitation
