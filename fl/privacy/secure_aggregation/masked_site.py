"""A site's part of a secure sum, step by step; it believes neither the server nor another site."""

import os
from collections.abc import Mapping

import numpy as np
from pydantic import BaseModel, ConfigDict

from fl.config.run_config import FEWEST_SECURE_SITES
from fl.privacy.secure_aggregation.errors import ProtocolViolationError
from fl.privacy.secure_aggregation.masks import Vector, mask_of, pair_mask
from fl.privacy.secure_aggregation.neighbours import (
    fewest_shares,
    fewest_survivors,
    neighbours_of,
)
from fl.privacy.secure_aggregation.round_keys import (
    KEY_BYTES,
    Identities,
    IdentityKey,
    KeyAnnouncement,
    announced_bytes,
    confirmed_bytes,
    new_private_key,
    public_key,
    require_signature,
    sign,
)
from fl.privacy.secure_aggregation.secret_shares import SharePair, open_sealed, seal, split

Letters = dict[str, bytes]  # by the site they go to, or come from


class SiteSecrets(BaseModel):
    """What a site keeps between the steps of a round; each step may be done once."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    context: str
    site: str
    mask_key: bytes
    channel_key: bytes
    seed: bytes
    step: str = "announced"
    roster: dict[str, bytes] = {}  # long-lived public keys of the round's sites, PEM
    announced: dict[str, KeyAnnouncement] = {}
    letters: Letters = {}
    survivors: list[str] = []

    def advance(self, before: str, after: str) -> None:
        """From one step to the next; `ProtocolViolationError` if it is another's turn."""
        if self.step != before:
            raise ProtocolViolationError(
                f"{self.site} is asked to go on from {before!r}, but it is at {self.step!r}"
            )
        self.step = after


def announce_keys(
    context: str, site: str, identity: IdentityKey
) -> tuple[SiteSecrets, KeyAnnouncement]:
    """Step 1: new keys for the round, signed. `context` names the run and its round."""
    secrets = SiteSecrets(
        context=context,
        site=site,
        mask_key=new_private_key(),
        channel_key=new_private_key(),
        seed=os.urandom(KEY_BYTES),
    )
    mask, channel = public_key(secrets.mask_key), public_key(secrets.channel_key)
    signature = sign(identity, announced_bytes(context, site, mask, channel))
    return secrets, KeyAnnouncement(mask_key=mask, channel_key=channel, signature=signature)


def share_secrets(
    secrets: SiteSecrets,
    announced: Mapping[str, KeyAnnouncement],
    identities: Identities,
    fewest: int = FEWEST_SECURE_SITES,
) -> Letters:
    """Step 2: shares of the site's secrets, a sealed letter for each neighbour.

    `announced` are the keys of all sites of the round. `fewest`: how many sites the hospital
    wants to be one of.
    """
    _require_announcements(secrets, announced, identities, fewest)
    secrets.advance("announced", "shared")
    secrets.announced = dict(announced)
    neighbours = neighbours_of(announced, secrets.context, secrets.site)
    threshold = fewest_shares(len(neighbours))
    mask_shares = split(secrets.mask_key, threshold, neighbours)
    seed_shares = split(secrets.seed, threshold, neighbours)
    return {
        to: seal(
            secrets.channel_key,
            announced[to].channel_key,
            secrets.context,
            secrets.site,
            to,
            SharePair(mask_shares[to], seed_shares[to]),
        )
        for to in neighbours
    }


def mask_vector(secrets: SiteSecrets, letters: Mapping[str, bytes], vector: Vector) -> Vector:
    """Step 3: the vector under its masks. `letters` are those that came from the neighbours.

    A neighbour without a letter has left the round, and no mask is shared with it.
    """
    neighbours = neighbours_of(secrets.announced, secrets.context, secrets.site)
    strangers = sorted(letters.keys() - set(neighbours))
    if strangers:
        raise ProtocolViolationError(f"a letter from {strangers[0]}, which is no neighbour")
    if len(letters) < fewest_shares(len(neighbours)):
        raise ProtocolViolationError(
            f"{len(letters)} of {len(neighbours)} neighbours sent shares, fewer than "
            f"{fewest_shares(len(neighbours))}"
        )
    for sender, letter in letters.items():
        _opened(secrets, sender, letter)
    secrets.advance("shared", "masked")
    secrets.letters = dict(letters)
    total = vector + mask_of(secrets.seed, len(vector))
    for other in sorted(letters):
        total += pair_mask(
            secrets.mask_key,
            secrets.announced[other].mask_key,
            secrets.context,
            secrets.site,
            other,
            len(vector),
        )
    return np.asarray(total, dtype=np.int64)


def confirm_survivors(secrets: SiteSecrets, survivors: list[str], identity: IdentityKey) -> bytes:
    """Step 4: a signature under the list of sites whose vectors arrived; under one list alone."""
    everyone = len(secrets.announced)
    needed = fewest_survivors(everyone)
    if secrets.site not in survivors or not set(survivors) <= secrets.announced.keys():
        raise ProtocolViolationError("the list of survivors names others than the round's sites")
    if survivors != sorted(set(survivors)) or len(survivors) < needed:
        raise ProtocolViolationError(
            f"{len(survivors)} of {everyone} sites are left, fewer than {needed}"
        )
    secrets.advance("masked", "confirmed")
    secrets.survivors = list(survivors)
    return sign(identity, confirmed_bytes(secrets.context, survivors))


def reveal_shares(
    secrets: SiteSecrets, confirmations: Mapping[str, bytes], identities: Identities
) -> Letters:
    """Step 5: of each neighbour one share: of its seed if its vector arrived, else of its key."""
    content = confirmed_bytes(secrets.context, secrets.survivors)
    for site, signature in confirmations.items():
        if site not in secrets.survivors:
            raise ProtocolViolationError(f"{site} confirms the survivors and is none of them")
        require_signature(identities, site, signature, content)
    if len(confirmations) < fewest_survivors(len(secrets.announced)):
        raise ProtocolViolationError(
            f"{len(confirmations)} sites confirm the survivors, fewer than "
            f"{fewest_survivors(len(secrets.announced))}"
        )
    secrets.advance("confirmed", "revealed")
    found = {}
    for sender, letter in secrets.letters.items():
        pair = _opened(secrets, sender, letter)
        found[sender] = pair.seed if sender in secrets.survivors else pair.mask_key
    return found


def _opened(secrets: SiteSecrets, sender: str, letter: bytes) -> SharePair:
    return open_sealed(
        secrets.channel_key,
        secrets.announced[sender].channel_key,
        secrets.context,
        sender,
        secrets.site,
        letter,
    )


def _require_announcements(
    secrets: SiteSecrets,
    announced: Mapping[str, KeyAnnouncement],
    identities: Identities,
    fewest: int,
) -> None:
    """`ProtocolViolationError` unless these can be the keys of the round's sites."""
    needed = max(fewest, FEWEST_SECURE_SITES)
    if len(announced) < needed:
        raise ProtocolViolationError(f"{len(announced)} sites take part, fewer than {needed}")
    own = announced.get(secrets.site)
    mask, channel = public_key(secrets.mask_key), public_key(secrets.channel_key)
    if own is None or (own.mask_key, own.channel_key) != (mask, channel):
        raise ProtocolViolationError(f"the keys of {secrets.site} itself were exchanged")
    keys = [key for one in announced.values() for key in (one.mask_key, one.channel_key)]
    if len(set(keys)) < len(keys):
        raise ProtocolViolationError("two sites have the same key")
    for site, one in announced.items():
        signed = announced_bytes(secrets.context, site, one.mask_key, one.channel_key)
        require_signature(identities, site, one.signature, signed)
