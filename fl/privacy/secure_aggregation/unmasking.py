"""The server's part of a secure sum: it passes letters on, adds, and unmasks the sum."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from fl.config.run_config import FEWEST_SECURE_SITES
from fl.privacy.secure_aggregation.errors import ProtocolViolationError, TooFewSitesError
from fl.privacy.secure_aggregation.masked_site import Letters
from fl.privacy.secure_aggregation.masks import Vector, mask_of, negative, pair_mask
from fl.privacy.secure_aggregation.neighbours import (
    fewest_shares,
    fewest_survivors,
    neighbours_of,
)
from fl.privacy.secure_aggregation.round_keys import KeyAnnouncement, public_key
from fl.privacy.secure_aggregation.secret_shares import combine


@dataclass
class SecureSum:
    """One round's sum. Each step takes what the sites answered; a site that did not is lost."""

    context: str
    announced: dict[str, KeyAnnouncement] = field(default_factory=dict)
    sent: dict[str, Letters] = field(default_factory=dict)  # by sender
    survivors: list[str] = field(default_factory=list)
    confirmations: dict[str, bytes] = field(default_factory=dict)
    total: Vector | None = None

    def take_keys(self, announced: Mapping[str, KeyAnnouncement]) -> None:
        """After step 1. `TooFewSitesError` if fewer than three sites are left."""
        self.announced = dict(announced)
        self._require(len(announced), FEWEST_SECURE_SITES, "sent keys")

    def take_letters(self, sent: Mapping[str, Letters]) -> None:
        """After step 2."""
        self.sent = dict(sent)
        self._require(len(sent), fewest_survivors(len(self.announced)), "shared their secrets")

    def letters_to(self, site: str) -> Letters:
        """The letters to one site, by sender."""
        return {sender: letters[site] for sender, letters in self.sent.items() if site in letters}

    def add(self, site: str, vector: Vector) -> None:
        """Step 3, one site's answer, in any order."""
        if self.total is not None and vector.shape != self.total.shape:
            raise ProtocolViolationError(
                f"{site} sent {vector.shape[0]} numbers, not {self.total.shape[0]}"
            )
        self.total = vector.copy() if self.total is None else self.total + vector
        self.survivors = sorted([*self.survivors, site])

    def require_survivors(self) -> None:
        """After step 3."""
        needed = fewest_survivors(len(self.announced))
        self._require(len(self.survivors), needed, "sent their masked vectors")

    def take_confirmations(self, confirmations: Mapping[str, bytes]) -> None:
        """After step 4."""
        self.confirmations = dict(confirmations)
        needed = fewest_survivors(len(self.announced))
        self._require(len(confirmations), needed, "confirmed the survivors")

    def unmasked(self, revealed: Mapping[str, Letters]) -> Vector:
        """After step 5: the sum of the survivors' vectors. `revealed` is by site that answered."""
        if self.total is None:
            raise TooFewSitesError("A secure sum has no vectors.")
        total = self.total.copy()
        size = len(total)
        for site in self.survivors:
            seed = self._secret(site, revealed, "the seed of")
            total += negative(mask_of(seed, size))
        for lost in sorted(self.sent.keys() - set(self.survivors)):
            neighbours = set(neighbours_of(self.announced, self.context, lost))
            left = [site for site in self.survivors if site in neighbours]
            if not left:
                continue
            secret = self._secret(lost, revealed, "the key of")
            if public_key(secret) != self.announced[lost].mask_key:
                raise ProtocolViolationError(f"the shares of the key of {lost} do not give it back")
            for site in left:
                public = self.announced[site].mask_key
                # What `lost` would have added for each neighbour is the negative of what is there.
                total += pair_mask(secret, public, self.context, lost, site, size)
        return np.asarray(total, dtype=np.int64)

    def _secret(self, site: str, revealed: Mapping[str, Letters], what: str) -> bytes:
        holders = neighbours_of(self.announced, self.context, site)
        shares = {
            holder: letters[site]
            for holder, letters in revealed.items()
            if site in letters and holder in holders
        }
        threshold = fewest_shares(len(holders))
        self._require(len(shares), threshold, f"sent their shares of {what} {site}")
        return combine(shares, threshold, holders)

    def _require(self, found: int, needed: int, did: str) -> None:
        if found < needed:
            raise TooFewSitesError(
                f"Secure aggregation: {found} sites {did}, {needed} are needed. No site's update "
                "is revealed. Continue with --resume once enough sites answer."
            )
