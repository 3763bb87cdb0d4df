"""How long a certificate is valid, in words, and the warning when that is not long any more."""

import datetime
from dataclasses import dataclass

from cryptography import x509

WARN_DAYS = 30  # days before the end of which coordinator and sites warn


@dataclass(frozen=True)
class Validity:
    """From when until when a certificate is valid."""

    begins: datetime.datetime
    ends: datetime.datetime

    @classmethod
    def of(cls, pem: bytes) -> "Validity":
        """Of a certificate as PEM; `ValueError` if it is none."""
        return cls.of_certificate(x509.load_pem_x509_certificate(pem))

    @classmethod
    def of_certificate(cls, certificate: x509.Certificate) -> "Validity":
        """Of a certificate."""
        return cls(certificate.not_valid_before_utc, certificate.not_valid_after_utc)

    @property
    def days(self) -> int:
        """Whole days that are left; below 0 once it has expired."""
        return (self.ends - _now()).days

    @property
    def expired(self) -> bool:
        """Whether its time is over."""
        return self.ends <= _now()

    @property
    def not_yet(self) -> bool:
        """Whether its time has not begun, by the clock of this machine."""
        return self.begins > _now()

    @property
    def needs_warning(self) -> bool:
        """Whether it has expired, or will within `WARN_DAYS` days."""
        return self.days < WARN_DAYS

    def __str__(self) -> str:
        day = self.ends.date().isoformat()
        if self.expired:
            return f"expired on {day}"
        if self.not_yet:
            return f"not valid before {self.begins.date().isoformat()}"
        return f"valid until {day}, {self.days} days"


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
