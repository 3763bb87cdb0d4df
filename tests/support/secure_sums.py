"""A secure sum of made vectors, with sites that leave at any step."""

from collections.abc import Mapping

import numpy as np

from fl.privacy.secure_aggregation.masked_site import (
    SiteSecrets,
    announce_keys,
    confirm_survivors,
    mask_vector,
    reveal_shares,
    share_secrets,
)
from fl.privacy.secure_aggregation.round_keys import IdentityKey, new_identity
from fl.privacy.secure_aggregation.unmasking import SecureSum

CONTEXT = "run-1/fedavg/3"
_IDENTITIES: dict[str, IdentityKey] = {}


def identity(site: str) -> IdentityKey:
    """The long-lived key of a site; the same in all tests."""
    return _IDENTITIES.setdefault(site, new_identity())


def names(n: int) -> list[str]:
    return [f"site-{number:02d}" for number in range(1, n + 1)]


def vectors(sites: list[str], size: int = 5, seed: int = 0) -> dict[str, np.ndarray]:
    """Integers from the whole range of 64 bits."""
    rng = np.random.default_rng(seed)
    low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    return {site: rng.integers(low, high, size=size) for site in sites}


class SecureRound:
    """All sites and the server; `leaves` names for a site the last step it does not do any more."""

    def __init__(self, given: Mapping[str, np.ndarray], leaves: Mapping[str, int] | None = None):
        self.given, self.leaves = given, leaves or {}
        self.public = {site: identity(site).public_key() for site in given}
        self.secrets, self.server = {}, SecureSum(CONTEXT)

    def there(self, step: int) -> list[str]:
        return [site for site in self.secrets or self.given if self.leaves.get(site, 9) > step]

    def keys(self) -> None:
        announced = {}
        for site in self.there(1):
            self.secrets[site], announced[site] = announce_keys(CONTEXT, site, identity(site))
        self.server.take_keys(announced)

    def letters(self) -> None:
        sent = {
            site: share_secrets(self.secrets[site], self.server.announced, self.public)
            for site in self.there(2)
        }
        self.server.take_letters(sent)

    def masked(self) -> None:
        for site in self.there(3):
            self.keep(site)
            letters = self.server.letters_to(site)
            self.server.add(site, mask_vector(self.secrets[site], letters, self.given[site]))
        self.server.require_survivors()

    def confirmed(self) -> None:
        survivors = self.server.survivors
        self.server.take_confirmations(
            {
                site: confirm_survivors(self.secrets[site], survivors, identity(site))
                for site in self.there(4)
                if site in survivors
            }
        )

    def unmasked(self) -> np.ndarray:
        revealed = {
            site: reveal_shares(self.secrets[site], self.server.confirmations, self.public)
            for site in self.there(5)
            if site in self.server.confirmations
        }
        return self.server.unmasked(revealed)

    def keep(self, site: str) -> None:
        """As between two requests: a site's secrets are written and read again."""
        self.secrets[site] = SiteSecrets.model_validate_json(self.secrets[site].model_dump_json())

    def total(self) -> np.ndarray:
        self.keys()
        self.letters()
        self.masked()
        self.confirmed()
        return self.unmasked()
