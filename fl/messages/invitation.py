"""What a coordinator hands to a hospital that is to join: its address, and whom to trust there."""

import base64
import hashlib
import json
import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from fl.util.atomic_io import write_atomically
from fl.util.errors import ConfigError


def fingerprint(public_key: bytes) -> str:
    """What `ssh-keygen -lf` shows of a public key: short enough to compare by telephone."""
    digest = hashlib.sha256(base64.b64decode(public_key.split()[1])).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def host_and_port(host: str, port: int) -> str:
    """HOST:PORT as URLs have it; an IPv6 address stands in brackets (RFC 3986)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, kw_only=True)
class Invitation:
    """An invitation for one hospital. Nothing in it is secret, but nobody may change it."""

    federation: str
    site: str  # the name under which the hospital takes part
    address: str  # of the coordinator, HOST:PORT or [IPv6]:PORT
    task: str
    ca: str  # certificate of the federation's own authority, PEM

    def write(self, path: Path) -> None:
        """As TOML, for people to read before they use it."""
        # JSON strings are TOML strings too; the certificate keeps its lines.
        items = [f"{k} = {json.dumps(v)}" for k, v in asdict(self).items() if k != "ca"]
        text = "\n".join([*items, f'ca = """\n{self.ca.strip()}\n"""', ""])
        write_atomically(path, text.encode())

    @classmethod
    def read(cls, path: Path) -> "Invitation":
        """`ConfigError` unless the file is an invitation."""
        names = {field.name for field in fields(cls)}
        try:
            found = tomllib.loads(path.read_text())
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            found = {}
        if found.keys() != names or not all(isinstance(v, str) for v in found.values()):
            raise ConfigError(
                f"{path}: is no invitation. The coordinator makes one with "
                "`python -m server.deploy invite SITE`."
            )
        return cls(**found)
