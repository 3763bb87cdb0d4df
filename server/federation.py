"""The coordinator's folder: its certificate authority, its settings, the sites it knows."""

import datetime
import ipaddress
import json
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

import fl
from fl.errors import ConfigError
from fl.files import write_whole

CA_DAYS, SERVER_DAYS = 3650, 397  # how long the certificates are valid
FEDERATION = "HEARTFED_FEDERATION"  # environment of the SuperLink: the federation's folder
PROGRESS = "progress.jsonl"  # in the run directory: what happens, for whoever watches
CONNECTION = "heartfed"  # name of the connection in Flower's configuration
LICENCE = "HeartFed is licensed under the Apache License 2.0 (SPDX: Apache-2.0).\n"
APP = """\
# What `flwr run` hands to Flower. The programme itself is the one installed at each place.
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
serverapp = "server.deployed:app"
clientapp = "clients.app:app"

[tool.flwr.app.config]
job = ""
"""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """federation.toml."""

    name: str
    task: str
    hosts: tuple[str, ...]  # names and addresses of the coordinator; sites use the first
    listen: str  # address that the gate listens on
    port: int  # of the gate
    superlink_port: int  # of the SuperLink, on loopback

    @property
    def address(self) -> str:
        """Where sites find the coordinator."""
        return f"{self.hosts[0]}:{self.port}"


@dataclass(frozen=True)
class Folder:
    """A federation's folder at the coordinator."""

    path: Path

    @property
    def ca(self) -> Path:
        return self.path / "ca.pem"

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

    def settings(self) -> Settings:
        """`ConfigError` if this is no federation's folder."""
        try:
            found = tomllib.loads((self.path / "federation.toml").read_text())
            return Settings(**(found | {"hosts": tuple(found["hosts"])}))
        except (OSError, KeyError, TypeError, ValueError):
            known = ", ".join(field.name for field in fields(Settings))
            raise ConfigError(
                f"{self.path}: is no federation's folder (federation.toml with {known}). Make one "
                f"with `python -m server.deploy init {self.path} --host HOST`."
            ) from None

    def sites(self) -> dict[str, dict[str, Any]]:
        """What is known of each site: node, when approved, when revoked."""
        found = sorted((self.path / "sites").glob("*.json"))
        return {path.stem: json.loads(path.read_text()) for path in found}

    def approved(self) -> dict[str, int]:
        """Site -> node, of those that may take part."""
        return {s: int(f["node"]) for s, f in self.sites().items() if not f["revoked"]}

    def note_site(self, site: str, **facts: Any) -> None:
        """Remember facts of a site, in a file of its own: two may be approved at once."""
        known = self.sites().get(site, {})
        path = self.path / "sites" / f"{site}.json"
        write_whole(path, json.dumps(known | facts, indent=1).encode())


def make(path: Path, settings: Settings) -> Folder:
    """A new federation's folder; private keys are readable by their owner alone."""
    folder = Folder(path.absolute())
    try:
        folder.path.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be made ({error.strerror}). Name a folder that is not there yet."
        ) from None
    for part in ("invitations", "sites", "jobs", "logs", "flwr", "heartfed"):
        (folder.path / part).mkdir(mode=0o700)
    items = [f"{k} = {json.dumps(v)}" for k, v in asdict(settings).items()]
    write_whole(folder.path / "federation.toml", ("\n".join(items) + "\n").encode())
    _make_authority(folder, settings.name)
    make_certificate(folder)
    write_connection(folder)
    (folder.app / "pyproject.toml").write_text(APP.format(version=fl.__version__))
    (folder.app / "LICENSE").write_text(LICENCE)
    return folder


def write_connection(folder: Folder) -> None:
    """Flower's own configuration, with the one connection to this SuperLink."""
    text = (
        f'[superlink]\ndefault = "{CONNECTION}"\n\n[superlink.{CONNECTION}]\n'
        f'address = "127.0.0.1:{folder.settings().superlink_port}"\n'
        f"root-certificates = {json.dumps(str(folder.ca))}\n"
    )
    write_whole(folder.flower_home / "config.toml", text.encode())


def _make_authority(folder: Folder, name: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"HeartFed {name}"[:64])])
    usage = {"key_cert_sign": True, "crl_sign": True, "digital_signature": False}
    certificate = (
        _begun(subject, subject, key.public_key(), CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(**usage), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write_key(folder.path / "ca.key", key)
    write_whole(folder.ca, certificate.public_bytes(serialization.Encoding.PEM))


def make_certificate(folder: Folder) -> None:
    """A server certificate from the federation's authority, for all names of the coordinator."""
    authority = x509.load_pem_x509_certificate(folder.ca.read_bytes())
    signer = serialization.load_pem_private_key((folder.path / "ca.key").read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    hosts = list(dict.fromkeys([*folder.settings().hosts, "localhost", "127.0.0.1"]))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    certificate = (
        _begun(subject, authority.subject, key.public_key(), SERVER_DAYS)
        .add_extension(x509.SubjectAlternativeName(_names(hosts)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    _write_key(folder.key, key)
    write_whole(folder.certificate, certificate.public_bytes(serialization.Encoding.PEM))


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # A site's clock may be a little behind.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(**given: bool) -> x509.KeyUsage:
    names = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{name: given.get(name, False) for name in names})


def _names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    """Each host as the address or the name that it is."""
    found: list[x509.GeneralName] = []
    for host in hosts:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            found.append(x509.DNSName(host))
    return found


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
