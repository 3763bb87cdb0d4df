"""Who takes part: invite a hospital, approve its key, or revoke it."""

import argparse
import datetime
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fl.messages.invitation import Invitation, fingerprint
from fl.privacy.egress_policy import NAME, SITE
from fl.util.errors import ConfigError, FederationError
from server.deploy.audit.federation_log import note_order
from server.deploy.federation_store import CONNECTION, FederationFolder
from server.deploy.superlink_client import (
    ask_flower,
    list_nodes,
    show_flower_command,
)


def invite(options: argparse.Namespace) -> int:
    """Write a hospital's invitation."""
    folder = FederationFolder(options.federation.absolute())
    settings = folder.settings()
    if not SITE.fullmatch(options.site):
        raise ConfigError(
            f"SITE is {options.site!r}. A site's name has letters, digits, '-' and '_'."
        )
    path = folder.invitation(options.site)
    if options.print:
        print(f"an invitation written to {path}")
        return 0
    Invitation(
        federation=settings.name,
        site=options.site,
        address=settings.address,
        task=settings.task,
        ca=folder.ca.read_text(),
    ).write(path)
    note_order(folder, "invited", site=options.site)
    print(f"Send this file to {options.site}, by a way on which nobody can exchange it: {path}")
    print(f"Next, there: python -m clients.deploy key {path.name} --site {options.site}")
    return 0


def approve(options: argparse.Namespace) -> int:
    """Admit a hospital by its public key."""
    folder = FederationFolder(options.federation.absolute())
    site = read_site(options.public_key)
    key = fingerprint(options.public_key.read_bytes())
    if not folder.invitation(site).exists():
        raise ConfigError(f"{site}: was not invited. `python -m server.deploy invite` does it.")
    order = ["supernode", "register", str(options.public_key), CONNECTION, "--name", site]
    if options.print:
        show_flower_command(folder, *order)
        return 0
    require_new(folder, site, key)
    print(f"{site}: {key}; compare it by telephone")
    answer = ask_flower(folder, *order)
    try:
        node = int(answer["node-id"])
    except (KeyError, TypeError, ValueError):
        raise FederationError(f"the SuperLink did not take the key of {site}: {answer}") from None
    keys = sorted({*folder.keys(site), key})
    public = options.public_key.read_text().strip()
    folder.note_site(site, node=node, approved=_now(), revoked="", keys=keys, public_key=public)
    note_order(folder, "approved", site=site, node=node, key=key)
    print(f"{site} may take part. It need only be started.")
    return 0


def require_new(folder: FederationFolder, site: str, key: str) -> None:
    """`ConfigError` if the site has a key that is in use, or this key was used before."""
    node = folder.approved().get(site)
    if node is not None and node in {n.node for n in list_nodes(folder) if n.admitted}:
        raise ConfigError(f"{site}: is approved already. Revoke it first to take another key.")
    used = [other for other in folder.sites() if key in folder.keys(other)]
    if set(used) - {site} or (used and node is None):
        raise ConfigError(
            f"{site}: this key was revoked, or is another site's, and is not taken. The hospital "
            "makes a new one: it deletes site.key in its folder and runs `key` again."
        )


def read_site(path: Path) -> str:
    """Whose key it is; `ConfigError` unless it is a public key as sites make them."""
    try:
        key = serialization.load_ssh_public_key(path.read_bytes())
        site = path.read_text().split()[2]
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from None
    except (ValueError, IndexError, UnsupportedAlgorithm):
        key, site = None, ""
    if not isinstance(key, ec.EllipticCurvePublicKey) or not NAME.fullmatch(site):
        raise ConfigError(
            f"{path}: is no site's public key. `python -m clients.deploy key` makes SITE.pub."
        )
    return site


def revoke(options: argparse.Namespace) -> int:
    """Shut a hospital out, at once and for good: its key is not taken again."""
    folder = FederationFolder(options.federation.absolute())
    node = folder.approved().get(options.site)
    if node is None:
        known = ", ".join(folder.approved()) or "none"
        raise ConfigError(f"{options.site}: takes no part. Approved sites: {known}.")
    order = ["supernode", "unregister", str(node), CONNECTION]
    if options.print:
        show_flower_command(folder, *order)
        return 0
    ask_flower(folder, *order)
    folder.note_site(options.site, revoked=_now())
    note_order(folder, "revoked", site=options.site, node=node)
    print(f"{options.site} is shut out.")
    return 0


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
