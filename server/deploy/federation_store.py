"""The coordinator's folder: its certificate authority, its settings, the sites it knows."""

import datetime
import json
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import fl
from fl.messages.invitation import Invitation, host_and_port
from fl.privacy.audit_log.log_file import KEEP_DAYS, MOST_DAYS
from fl.util.atomic_io import write_atomically
from fl.util.errors import ConfigError
from server.deploy.certificates import make_authority, make_server_certificate

FEDERATION = "HEARTFED_FEDERATION"  # environment of the SuperLink: the federation's folder
CONNECTION = "heartfed"  # name of the connection in Flower's configuration
# The addresses that mean all of a machine, and where the machine then finds itself.
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}
LICENCE = "HeartFed is licensed under the Apache License 2.0 (SPDX: Apache-2.0).\n"
APP = """\
# What `flwr run` hands to Flower. The program itself is the one installed at each place.
[project]
name = "heartfed"
version = "{version}"
description = "HeartFed, as installed at the coordinator and at every site"
license = {{ file = "LICENSE" }}
dependencies = ["flwr>=1.41,<1.43"]

[tool.flwr.app]
publisher = "heartfed"
fab-format-version = 1
flwr-version-target = "1.41.0"

[tool.flwr.app.components]
serverapp = "server.deploy.server_app:app"
clientapp = "clients.app:app"

[tool.flwr.app.config]
job = ""
"""


@dataclass(frozen=True, kw_only=True)
class FederationSettings:
    """federation.toml."""

    name: str
    task: str
    hosts: tuple[str, ...]  # names and addresses of the coordinator; sites use the first
    listen: str  # address that the reverse proxy listens on
    port: int  # of the reverse proxy
    superlink_port: int  # of the SuperLink, on loopback
    audit_keep_days: int = KEEP_DAYS  # after which a file of the audit log is removed; 0: never

    def __post_init__(self) -> None:
        days = self.audit_keep_days
        if type(days) is not int or not 0 <= days <= MOST_DAYS:
            raise ValueError(f"audit_keep_days is {days!r}, and no number of days")

    @property
    def address(self) -> str:
        """Where sites find the coordinator."""
        return host_and_port(self.hosts[0], self.port)

    @property
    def own_address(self) -> str:
        """Where the reverse proxy is found from this machine itself."""
        return host_and_port(LOOPBACK.get(self.listen, self.listen), self.port)

    @property
    def certificate_hosts(self) -> tuple[str, ...]:
        """Names and addresses under which the server may be asked for."""
        listened = () if self.listen in LOOPBACK else (self.listen,)
        return tuple(dict.fromkeys([*self.hosts, *listened, "localhost", "127.0.0.1", "::1"]))


@dataclass(frozen=True, kw_only=True)
class NodeState:
    """A SuperNode as the SuperLink knows it."""

    node: int
    status: str  # registered (never seen), online, offline, unregistered
    seen: float  # seconds since 1970 of its last sign of life; 0: never
    activated: float = 0.0  # and when it was last admitted, which a SuperNode is when it starts

    @property
    def admitted(self) -> bool:
        """Whether the SuperLink takes the node's key."""
        return self.status != "unregistered"


def latest(times: Sequence[str]) -> float:
    """Seconds since 1970 of the latest time that Flower writes; 0 if there is none."""
    found = [0.0]
    for text in times:
        try:
            found.append(datetime.datetime.fromisoformat(text).timestamp())
        except ValueError:
            continue  # Flower writes N/A or nothing for what has not happened
    return max(found)


@dataclass(frozen=True)
class FederationFolder:
    """A federation's folder at the coordinator."""

    path: Path

    @property
    def ca(self) -> Path:
        return self.path / "ca.pem"

    @property
    def ca_key(self) -> Path:
        return self.path / "ca.key"

    @property
    def certificate(self) -> Path:
        return self.path / "server.pem"

    @property
    def key(self) -> Path:
        return self.path / "server.key"

    @property
    def database(self) -> Path:
        return self.path / "superlink.db"

    @property
    def flower_home(self) -> Path:
        return self.path / "flwr"

    @property
    def app(self) -> Path:
        return self.path / "heartfed"

    @property
    def jobs(self) -> Path:
        return self.path / "jobs"

    def invitation(self, site: str) -> Path:
        return self.path / "invitations" / f"{site}.toml"

    def settings(self) -> FederationSettings:
        """`ConfigError` if this is no federation's folder."""
        try:
            found = tomllib.loads((self.path / "federation.toml").read_text())
            return FederationSettings(**(found | {"hosts": tuple(found["hosts"])}))
        except (OSError, KeyError, TypeError, ValueError):
            known = ", ".join(field.name for field in fields(FederationSettings))
            raise ConfigError(
                f"{self.path}: is no federation's folder (federation.toml with {known}). Make one "
                f"with `python -m server.deploy init {self.path} --host HOST`."
            ) from None

    def sites(self) -> dict[str, dict[str, Any]]:
        """What is known of each site: node, when approved, when revoked, its keys so far."""
        found = sorted((self.path / "sites").glob("*.json"))
        return {path.stem: json.loads(path.read_text()) for path in found}

    def keys(self, site: str) -> list[str]:
        """Fingerprints of the keys by which a site was ever approved."""
        return list(self.sites().get(site, {}).get("keys", []))

    def approved(self) -> dict[str, int]:
        """Site -> node, of those that may take part."""
        return {s: int(f["node"]) for s, f in self.sites().items() if not f["revoked"]}

    def public_keys(self) -> dict[int, str]:
        """Node -> public key in OpenSSH's form, of sites that may take part.

        Those that an earlier version approved are not among them.
        """
        found = self.sites().values()
        return {
            int(f["node"]): f["public_key"]
            for f in found
            if not f["revoked"] and f.get("public_key")
        }

    def note_site(self, site: str, **facts: Any) -> None:
        """Keep facts of a site, in a file of its own: two may be approved at once."""
        known = self.sites().get(site, {})
        path = self.path / "sites" / f"{site}.json"
        write_atomically(path, json.dumps(known | facts, indent=1).encode())


def make_federation(path: Path, settings: FederationSettings) -> FederationFolder:
    """A new federation's folder; private keys are readable by their owner alone."""
    folder = FederationFolder(path.absolute())
    try:
        folder.path.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be made ({error.strerror}). Name a folder that does not exist yet."
        ) from None
    for part in ("invitations", "sites", "jobs", "logs", "flwr", "heartfed"):
        (folder.path / part).mkdir(mode=0o700)
    items = [f"{k} = {json.dumps(v)}" for k, v in asdict(settings).items()]
    write_atomically(folder.path / "federation.toml", ("\n".join(items) + "\n").encode())
    make_authority(folder.ca, folder.ca_key, settings.name)
    make_certificate(folder)
    write_connection(folder)
    (folder.app / "pyproject.toml").write_text(APP.format(version=fl.__version__))
    (folder.app / "LICENSE").write_text(LICENCE)
    return folder


def make_certificate(folder: FederationFolder) -> None:
    """A new server certificate from the federation's authority, with the server's key.

    Sites need nothing new.
    """
    hosts = folder.settings().certificate_hosts
    make_server_certificate(folder.ca, folder.ca_key, folder.certificate, folder.key, hosts)


def renew_authority(folder: FederationFolder) -> None:
    """A new certificate of the authority, with its key, and invitations that hold it.

    A site that has the earlier certificate trusts what the authority signs until that ends.
    """
    make_authority(folder.ca, folder.ca_key, folder.settings().name)
    for path in (folder.path / "invitations").glob("*.toml"):
        replace(Invitation.read(path), ca=folder.ca.read_text()).write(path)


def write_connection(folder: FederationFolder) -> None:
    """Flower's own configuration, with the one connection to this SuperLink."""
    text = (
        f'[superlink]\ndefault = "{CONNECTION}"\n\n[superlink.{CONNECTION}]\n'
        f'address = "127.0.0.1:{folder.settings().superlink_port}"\n'
        f"root-certificates = {json.dumps(str(folder.ca))}\n"
    )
    write_atomically(folder.flower_home / "config.toml", text.encode())
