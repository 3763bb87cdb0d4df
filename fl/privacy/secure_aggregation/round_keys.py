"""The keys of one site in one round, and how other sites know that they are its own."""

from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fl.privacy.secure_aggregation.errors import ProtocolViolationError

KEY_BYTES = 32  # of an X25519 key, and of every key and seed that is derived or drawn
# Flower's nodes have keys of elliptic curves, and sign with them.
IdentityKey = ec.EllipticCurvePrivateKey
Identities = Mapping[str, ec.EllipticCurvePublicKey]  # by site
SIGNATURE_HASH = hashes.SHA384()
USE = b"heartfed secure aggregation"  # in all that is signed: the same keys sign other things too


@dataclass(frozen=True, kw_only=True)
class KeyAnnouncement:
    """What a site sends first: its public keys of the round, signed."""

    mask_key: bytes
    channel_key: bytes
    signature: bytes


def announced_bytes(context: str, site: str, mask_key: bytes, channel_key: bytes) -> bytes:
    """What the signature of an announcement is over. `context` names the run and its round."""
    return b"\0".join([USE, b"keys", context.encode(), site.encode(), mask_key + channel_key])


def confirmed_bytes(context: str, survivors: list[str]) -> bytes:
    """What a site signs when it confirms whose vectors arrived."""
    return b"\0".join([USE, b"survivors", context.encode(), *(s.encode() for s in survivors)])


def sign(key: IdentityKey, content: bytes) -> bytes:
    """A signature with a site's long-lived key."""
    return key.sign(content, ec.ECDSA(SIGNATURE_HASH))


def require_signature(identities: Identities, site: str, signature: bytes, content: bytes) -> None:
    """`ProtocolViolationError` unless the site of this name signed the content."""
    if site not in identities:
        raise ProtocolViolationError(f"{site} is no site whose key is known here")
    try:
        identities[site].verify(signature, content, ec.ECDSA(SIGNATURE_HASH))
    except InvalidSignature:
        raise ProtocolViolationError(f"what {site} signed is not what was sent") from None


def new_private_key() -> bytes:
    """A new X25519 private key, from the operating system's generator."""
    return X25519PrivateKey.generate().private_bytes_raw()


def public_key(private: bytes) -> bytes:
    """The public key that belongs to a private one."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def agreed_key(private: bytes, public: bytes, use: str) -> bytes:
    """The key that two sites share for one use; `ProtocolViolationError` for a worthless one."""
    own = X25519PrivateKey.from_private_bytes(private)
    try:
        secret = own.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:  # of the wrong length, or of a point with which nothing can be agreed
        raise ProtocolViolationError("a public key with which no secret can be agreed") from None
    return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=use.encode()).derive(
        secret
    )


def new_identity() -> IdentityKey:
    """A long-lived key, for a simulated site; a hospital's is that of its SuperNode."""
    return ec.generate_private_key(ec.SECP384R1())


def pem_of(key: ec.EllipticCurvePublicKey) -> bytes:
    """A public key as PEM text."""
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, kind)


def private_pem(key: IdentityKey) -> bytes:
    """A private key as PEM text, for a file that its owner alone can read."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def private_from_pem(content: bytes) -> IdentityKey:
    """A site's private key from its PEM text; `ProtocolViolationError` for another kind of key."""
    key = serialization.load_pem_private_key(content, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ProtocolViolationError("the private key of a site is of another kind than Flower's")
    return key


def identity_from_pem(content: bytes) -> ec.EllipticCurvePublicKey:
    """A site's public key from its PEM text; `ProtocolViolationError` for another kind of key."""
    try:
        key = serialization.load_pem_public_key(content)
    except ValueError:
        raise ProtocolViolationError("a public key of a site cannot be read") from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ProtocolViolationError("a public key of a site is of another kind than Flower's")
    return key
