"""`run_sim.py --secure-aggregation` without masks: the same weights and figures, much sooner.

    python -m benchmarks.studies.unmasked_run FLAGS OF run_sim.py

Masks cancel in the sum to the bit (tests/fl/privacy/secure_aggregation/test_secure_sum.py), so that
figures do not depend on them. With 100 sites they take several times as long as the training, and a
study of many runs takes hours. Sites and server do every step but draw no masks and share no
secrets, in one process (`--engine local`). It protects nobody, and is for studies alone.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from unittest import mock

import numpy as np

import run_sim
from fl.privacy.secure_aggregation.masked_site import Letters, SiteSecrets
from fl.privacy.secure_aggregation.masks import Vector
from fl.privacy.secure_aggregation.round_keys import KeyAnnouncement
from fl.privacy.secure_aggregation.unmasking import SecureSum


def no_letters(
    secrets: SiteSecrets, announced: Mapping[str, KeyAnnouncement], *_: object
) -> Letters:
    """Step 2 without letters."""
    secrets.advance("announced", "shared")
    secrets.announced = dict(announced)
    return {}


def plain_vector(secrets: SiteSecrets, letters: Mapping[str, bytes], vector: Vector) -> Vector:
    """Step 3 without a mask."""
    secrets.advance("shared", "masked")
    return vector


def no_shares(secrets: SiteSecrets, *_: object) -> Letters:
    """Step 5 without shares."""
    secrets.advance("confirmed", "revealed")
    return {}


def plain_sum(secure: SecureSum, revealed: Mapping[str, Letters]) -> Vector:
    """The sum of vectors that had no masks."""
    assert secure.total is not None
    return np.asarray(secure.total)


@contextmanager
def without_masks() -> Iterator[None]:
    """Sites and server of this process draw no masks and share no secrets."""
    with (
        mock.patch("clients.secure_steps.share_secrets", no_letters),
        mock.patch("clients.secure_steps.mask_vector", plain_vector),
        mock.patch("clients.secure_steps.reveal_shares", no_shares),
        mock.patch.object(SecureSum, "unmasked", plain_sum),
    ):
        yield


def main(given: Sequence[str] | None = None) -> int:
    """Run the simulation; its exit code."""
    flags = [*(sys.argv[1:] if given is None else given), "--engine", "local"]
    with without_masks():
        return run_sim.main(flags)


if __name__ == "__main__":
    sys.exit(main())
