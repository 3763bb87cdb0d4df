"""What is checked before a site joins: its recordings, and who the coordinator is.

And the certificate by which the coordinator is known, when it is renewed.
"""

import argparse
import ssl
from pathlib import Path

import httpx
from cryptography import x509
from rich.console import Console

from clients.deploy.site_folder import SiteFolder, read_invitation, site_folder
from clients.deploy.site_settings import SiteSettings
from fl.messages.invitation import Invitation
from fl.util.atomic_io import write_atomically
from fl.util.errors import ConfigError, DataError
from fl.util.network.certificate_dates import Validity
from fl.util.network.proxies import proxy_variable

SECONDS = 10.0  # within which the coordinator answers
NOT_YET_VALID, EXPIRED = 9, 10  # numbers of OpenSSL: X509_V_ERR_CERT_NOT_YET_VALID, _HAS_EXPIRED


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
    """`ConfigError` if the coordinator is not who the invitation says; not if it is away.

    A certificate that has expired, or will soon, and a proxy that is in the way are named.
    """
    check_authority(folder, console)
    url = f"https://{invitation.address}/health"
    proxy = proxy_variable(url)
    through = f" through the proxy that {proxy} names" if proxy else ""
    leave = f" If {invitation.address} needs no proxy, add its host to NO_PROXY." if proxy else ""
    try:
        trusted = ssl.create_default_context(cafile=str(folder.ca))
        with httpx.stream("GET", url, verify=trusted, timeout=SECONDS) as answer:
            show_certificate(answer, invitation, console)
    except (ImportError, ValueError, httpx.InvalidURL) as error:  # a proxy that httpx cannot use
        if not proxy:
            raise
        raise ConfigError(
            f"{proxy} is a proxy that cannot be used ({error}). Name one with http://, or unset "
            f"the variable.{leave}"
        ) from None
    except httpx.ConnectError as error:
        if (failure := _certificate_failure(error)) is not None:
            raise ConfigError(_about(failure, invitation, through) + leave) from None
        console.print(
            f"{invitation.address} cannot be reached{through} ({error}); trying again.{leave}"
        )
    except httpx.HTTPError as error:
        console.print(
            f"{invitation.address} does not answer{through} ({error}); trying again.{leave}"
        )


def check_authority(folder: SiteFolder, console: Console) -> None:
    """Show until when the authority's certificate is valid; `ConfigError` if it has expired."""
    validity = Validity.of(folder.ca.read_bytes())
    ask = (
        "Ask the coordinator for a new invitation (`python -m server.deploy renew FEDERATION "
        "--authority` makes it), and give it to `python -m clients.deploy renew`."
    )
    if validity.expired:
        raise ConfigError(f"the certificate of the federation's authority {validity}. {ask}")
    warning = f"WARNING: it ends soon. {ask}" if validity.needs_warning else ""
    console.print(f"certificate of the federation's authority: {validity} {warning}".rstrip())


def show_certificate(answer: httpx.Response, invitation: Invitation, console: Console) -> None:
    """Until when the certificate that the coordinator shows is valid."""
    stream = answer.extensions.get("network_stream")
    connection = stream.get_extra_info("ssl_object") if stream is not None else None
    shown = connection.getpeercert(True) if connection is not None else None
    if not shown:
        return
    validity = Validity.of_certificate(x509.load_der_x509_certificate(shown))
    warning = (
        "WARNING: it ends soon. Ask the coordinator for `python -m server.deploy renew`."
        if validity.needs_warning
        else ""
    )
    console.print(f"certificate of {invitation.address}: {validity} {warning}".rstrip())


def _certificate_failure(error: httpx.ConnectError) -> ssl.SSLError | None:
    """Why TLS failed, if it did: httpx wraps the error of the library below it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def _about(failure: ssl.SSLError, invitation: Invitation, through: str) -> str:
    """What a failure of TLS means, and what to do."""
    code = getattr(failure, "verify_code", 0)
    if code == EXPIRED:
        return (
            f"the certificate of {invitation.address} has expired. The coordinator makes a new "
            "one with `python -m server.deploy renew` and starts `serve` again; this site needs "
            "nothing new. Or the clock of this machine is wrong."
        )
    if code == NOT_YET_VALID:
        return (
            f"the certificate of {invitation.address} is not valid yet. Is the clock of this "
            "machine right?"
        )
    return (
        f"{invitation.address} does not show{through} a certificate of federation "
        f"{invitation.federation!r}. Ask the coordinator, by another way, for a new "
        "invitation, and do not join before you know why."
    )


def trust_authority(folder: SiteFolder, invitation: Invitation) -> None:
    """Take the authority's certificate from the invitation, unless a later one of it is there."""
    try:
        known = x509.load_pem_x509_certificate(folder.ca.read_bytes())
        given = x509.load_pem_x509_certificate(invitation.ca.encode())
    except (OSError, ValueError):
        pass
    else:
        later = known.not_valid_after_utc > given.not_valid_after_utc
        if later and known.public_key() == given.public_key():
            return
    write_atomically(folder.ca, invitation.ca.encode())


def renew(options: argparse.Namespace) -> int:
    """Trust the authority's new certificate, of the same key; the site's own key stays as it is."""
    invitation, folder = read_invitation(options), site_folder(options)
    try:
        known = x509.load_pem_x509_certificate(folder.ca.read_bytes())
    except (OSError, ValueError):
        raise ConfigError(
            f"{folder.ca}: is no certificate that could be renewed. `join` takes the invitation as "
            "it is."
        ) from None
    try:
        given = x509.load_pem_x509_certificate(invitation.ca.encode())
    except ValueError:
        raise ConfigError(f"{options.invitation}: its certificate cannot be read.") from None
    if given.public_key() != known.public_key():
        raise ConfigError(
            f"{options.invitation}: is of another authority than the one that this site trusts, "
            "not of its renewed certificate. Ask the coordinator, by another way, why."
        )
    write_atomically(folder.ca, invitation.ca.encode())
    print(
        f"{folder.ca}: {Validity.of_certificate(given)}; the authority's key and this site's are "
        "the same. A `join` that is at work uses it when it is started again."
    )
    return 0
