"""What is checked before a site joins: its recordings, and who the coordinator is."""

import ssl
from pathlib import Path

import httpx
from rich.console import Console

from clients.deploy.site_folder import SiteFolder
from clients.deploy.site_settings import SiteSettings
from fl.messages.invitation import Invitation
from fl.util.errors import ConfigError, DataError

SECONDS = 10.0  # within which the coordinator answers


def check_data(settings: SiteSettings, console: Console, workers: int) -> None:
    """Read every recording once, show what cannot be used, and preprocess the rest."""
    # Imported here: a mistake in a flag, or the making of a key, should not wait for torch.
    from clients.deploy.deployed_site import site_cohort, site_partition
    from fl.datasets.data_report import check
    from fl.datasets.source_selection import select_sources
    from fl.ecg.tasks import TASKS

    folder = Path(settings.data_dir)
    if not folder.is_dir():
        raise ConfigError(f"--data-dir {folder}: is no folder.")
    console.print(f"Reading every recording under {folder}")
    sources = list(select_sources(settings.run_config()).sources.values())
    report = check(sources, folder, task=TASKS[settings.task])
    for table in report.tables():
        console.print(table)
    for problem in report.problems.values():
        raise DataError(problem)
    console.print("Preprocessing the usable recordings, unless that was done before")
    site_cohort(settings, workers)
    site_partition(settings, 0)


def check_coordinator(invitation: Invitation, folder: SiteFolder, console: Console) -> None:
    """`ConfigError` if the coordinator is not who the invitation says; not if it is away."""
    trusted = ssl.create_default_context(cafile=str(folder.ca))
    try:
        httpx.get(f"https://{invitation.address}/health", verify=trusted, timeout=SECONDS)
    except httpx.ConnectError as error:
        if _is_about_certificate(error):
            raise ConfigError(
                f"{invitation.address} does not show a certificate of federation "
                f"{invitation.federation!r}. Ask the coordinator, by another way, for a new "
                "invitation, and do not join before you know why."
            ) from None
        console.print(f"{invitation.address} cannot be reached ({error}); trying again")
    except httpx.HTTPError as error:
        console.print(f"{invitation.address} does not answer ({error}); trying again")


def _is_about_certificate(error: httpx.ConnectError) -> bool:
    """Whether TLS failed: httpx wraps the error of the library below it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
