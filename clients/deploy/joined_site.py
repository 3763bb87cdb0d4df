"""A site that takes part in a federation: its invitation, its folder and its settings."""

from dataclasses import dataclass

from rich.console import Console

from clients.deploy.site_folder import SiteFolder
from clients.deploy.site_settings import SiteSettings
from fl.messages.invitation import Invitation

# Seconds: a SuperLink counts a node that vanished as connected for 60, and until then admits
# nobody else with its key.
NODE_LAPSE = 70.0
# What `clients.deploy.supernode_internals` writes, a line each, and how it ends if refused. The
# number of the node follows the first.
CONNECTED, ARRIVED = "heartfed: connected as node ", "heartfed: a message has arrived"
NOT_ADMITTED = 3


@dataclass(frozen=True, kw_only=True)
class JoinedSite:
    """What a SuperNode needs to serve for a site."""

    invitation: Invitation
    folder: SiteFolder
    settings: SiteSettings
    console: Console

    @property
    def name(self) -> str:
        return self.settings.site

    @property
    def not_admitted(self) -> str:
        """Why a coordinator does not admit a key, and what the hospital can do."""
        return (
            "it is not approved yet, or revoked, or in use by another `join`. Send "
            f"{self.folder.public_key} to the coordinator and run this again once it is approved."
        )

    def supernode_flags(self, port: int) -> list[str]:
        """The flags of `flower-supernode` that do not depend on who answers its requests."""
        return [
            *("--superlink", self.invitation.address),
            *("--root-certificates", str(self.folder.ca)),
            *("--auth-supernode-private-key", str(self.folder.key)),
            *("--host", "127.0.0.1", "--port", str(port)),
            *("--node-config", self.settings.node_config()),
        ]
