"""Make the folder of a new federation, or new certificates for it."""

import argparse
import ipaddress

from fl.privacy.egress_policy import NAME
from fl.util.errors import ConfigError
from fl.util.network.certificate_dates import Validity
from server.deploy.audit.federation_log import note_order, require_days
from server.deploy.certificates import SERVER_DAYS, certificate_lines
from server.deploy.federation_store import (
    FederationFolder,
    FederationSettings,
    make_certificate,
    make_federation,
    renew_authority,
)


def init(options: argparse.Namespace) -> int:
    """Make a federation's folder."""
    settings = FederationSettings(
        name=options.name or options.federation.absolute().name,
        task=options.task,
        hosts=tuple(read_host(host) for host in options.host.split(",") if host),
        listen=read_host(options.listen),
        port=options.port,
        superlink_port=options.superlink_port,
        audit_keep_days=require_days(options.audit_keep_days),
    )
    if not settings.hosts:
        raise ConfigError("--host is empty. Give names or addresses, with commas between them.")
    if options.print:
        print(f"a folder {options.federation} with an authority for {', '.join(settings.hosts)}")
        return 0
    folder = make_federation(options.federation, settings)
    note_order(folder, "federation-made", federation=settings.name, task=settings.task)
    print(f"Made {folder.path}. Keep ca.key and server.key secret; back the folder up.")
    print(f"Next: python -m server.deploy serve {options.federation}")
    return 0


def read_host(text: str) -> str:
    """A name or an address; an IPv6 address may stand in brackets, as in a URL."""
    host = text.strip()
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if ":" in host:
        try:
            return str(ipaddress.IPv6Address(host))
        except ValueError:
            host = ""
    if not NAME.fullmatch(host):
        raise ConfigError(
            f"--host is {text!r}. Give names or addresses without a port, with commas between them."
        )
    return host


def renew(options: argparse.Namespace) -> int:
    """Make a new server certificate, and one of the authority if that ends before it would.

    All keys stay the same.
    """
    folder = FederationFolder(options.federation.absolute())
    folder.settings()
    before = Validity.of(folder.ca.read_bytes())
    authority = options.authority or before.days <= SERVER_DAYS
    if options.print:
        print(f"new {folder.certificate}{f', {folder.ca} and invitations' if authority else ''}")
        return 0
    if authority:
        renew_authority(folder)
    make_certificate(folder)
    note_order(folder, "certificate-renewed")
    for line in certificate_lines(folder.ca, folder.certificate):
        print(line)
    print("Keys are the same. The certificates are used when `serve` is started again.")
    if authority:
        print(
            f"Send each hospital its new invitation from {folder.path / 'invitations'}, for "
            f"`python -m clients.deploy renew`. Its earlier one: {before}."
        )
    return 0
