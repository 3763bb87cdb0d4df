"""A federation's own certificate authority, and the server certificate that it signs.

Private keys are readable by their owner alone.
"""

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fl.util.atomic_io import write_atomically
from fl.util.errors import ConfigError
from fl.util.network.certificate_dates import Validity

CA_DAYS, SERVER_DAYS = 3650, 397  # how long the certificates are valid


def make_authority(certificate_path: Path, key_path: Path, name: str) -> None:
    """The certificate of a federation's authority, and its private key unless there is one.

    A certificate made again, of the same name and key, is the same authority: what it signed stays
    valid, and what it signs is valid for whoever still has the earlier one.
    """
    key = _ensure_key(key_path)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"HeartFed {name}"[:64])])
    usage = {"key_cert_sign": True, "crl_sign": True, "digital_signature": False}
    certificate = (
        _begun(subject, subject, key.public_key(), CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(**usage), critical=True)
        .sign(key, hashes.SHA256())
    )
    write_atomically(certificate_path, certificate.public_bytes(serialization.Encoding.PEM))


def make_server_certificate(
    authority_path: Path,
    authority_key_path: Path,
    certificate_path: Path,
    key_path: Path,
    hosts: Sequence[str],
) -> None:
    """A server certificate signed by the authority, for all of these names and addresses.

    The server's key is kept if there is one.
    """
    authority = x509.load_pem_x509_certificate(authority_path.read_bytes())
    signer = _read_key(authority_key_path)
    if signer is None:
        raise ConfigError(
            f"{authority_key_path}: is not there. Without it no certificate can be made: restore "
            "it from the backup of the federation's folder, or make a new federation."
        )
    key = _ensure_key(key_path)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    certificate = (
        _begun(
            *(subject, authority.subject, key.public_key(), SERVER_DAYS),
            latest=authority.not_valid_after_utc,
        )
        .add_extension(x509.SubjectAlternativeName(_names(hosts)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    write_atomically(certificate_path, certificate.public_bytes(serialization.Encoding.PEM))


def certificate_lines(authority: Path, certificate: Path) -> list[str]:
    """Until when the certificates are valid, a line each."""
    return [
        f"{name}: {Validity.of(path.read_bytes())}" for name, path in _both(authority, certificate)
    ]


def certificate_warnings(authority: Path, certificate: Path) -> list[str]:
    """A line for each certificate that is not valid, or not for long."""
    found = [(name, Validity.of(path.read_bytes())) for name, path in _both(authority, certificate)]
    return [
        f"WARNING: {name}: {validity}. {renewal(authority.parent)}"
        for name, validity in found
        if validity.needs_warning
    ]


def require_valid_certificates(authority: Path, certificate: Path) -> None:
    """`ConfigError` if a certificate has expired, or is not valid yet by this machine's clock."""
    for name, path in _both(authority, certificate):
        validity = Validity.of(path.read_bytes())
        if validity.expired:
            raise ConfigError(f"{name} {validity}: no site can connect. {renewal(path.parent)}")
        if validity.not_yet:
            raise ConfigError(f"{name} is {validity}. Is the clock of this machine right?")


def renewal(folder: Path) -> str:
    """What to do about a certificate whose time is over."""
    return (
        f"`python -m server.deploy renew {folder}` makes a new one with the same key; then start "
        "`serve` again."
    )


def _both(authority: Path, certificate: Path) -> tuple[tuple[str, Path], tuple[str, Path]]:
    return (
        (f"server certificate {certificate}", certificate),
        (f"authority's certificate {authority}", authority),
    )


def _begun(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    days: int,
    latest: datetime.datetime | None = None,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    ends = now + datetime.timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # A site's clock may be a little behind.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(ends if latest is None else min(ends, latest))
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


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey | None:
    """A private key; None if there is none, `ConfigError` if the file holds something else."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(
            f"{path}: is no private key as `init` makes it. Restore it from the backup of the "
            "federation's folder."
        )
    return key


def _ensure_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The private key of this file, made if there is none."""
    key = _read_key(path)
    if key is None:
        key = ec.generate_private_key(ec.SECP256R1())
        text = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        write_atomically(path, text, mode=0o600)
    return key
