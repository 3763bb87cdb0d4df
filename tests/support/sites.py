"""Sites for the tests of a deployment: their invitation, folder and settings, without a process."""

import io

from rich.console import Console

from clients.deploy.joined_site import JoinedSite
from clients.deploy.site_folder import SiteFolder
from clients.deploy.site_settings import SiteSettings
from fl.messages.invitation import Invitation


def joined(base, name="a", address="coordinator.example.org:8443"):
    """A site as `join` knows it; what it prints is in `console.file`."""
    invitation = Invitation(federation="f", site=name, address=address, task="rhythm", ca="")
    settings = SiteSettings(site=name, data_dir=str(base), folder=str(base))
    console = Console(file=io.StringIO(), soft_wrap=True)
    folder = SiteFolder(base, name)
    return JoinedSite(invitation=invitation, folder=folder, settings=settings, console=console)
