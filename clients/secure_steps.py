"""A site's part of a secure sum: keys, letters, the masked vector, and shares for those who left.

What it keeps between the steps of a round lies in its own folder, readable by it alone. Each step
is done once; the same request, made again because its answer was lost, has the same answer.
"""

import hashlib
import io
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from clients.secure_keys import Keyring, simulated_keyring
from clients.simulated_sites import Site
from fl.messages.flower_secure_codec import SecureReply, SecureRequest
from fl.messages.job import Job
from fl.messages.payloads import EvaluationReply, TrainingReply
from fl.messages.round_vector import round_vector
from fl.messages.update_weight import weighted_update
from fl.privacy.secure_aggregation.errors import ProtocolViolationError
from fl.privacy.secure_aggregation.masked_site import (
    SiteSecrets,
    announce_keys,
    confirm_survivors,
    mask_vector,
    reveal_shares,
    share_secrets,
)
from fl.privacy.secure_aggregation.masks import Vector
from fl.privacy.secure_aggregation.neighbours import fewest_survivors
from fl.privacy.secure_aggregation.round_keys import pem_of
from fl.training.state_dict import Weights
from fl.util.atomic_io import write_atomically
from partitions.splits import TRAIN, VAL

SECRETS = "secrets.json"
VECTOR = "masked.npy"  # the last vector that left, as it left


class KeptRound(BaseModel):
    """What a site knows of a round: its secrets, and the answer to the last request."""

    secrets: SiteSecrets
    asked: str = ""  # digest of the last request
    reply: SecureReply | None = None  # to it; None: a masked vector, in a file of its own


def answer_step(
    site: Site, job: Job, asked: SecureRequest, keyring: Keyring | None = None
) -> SecureReply:
    """The answer to a step without a vector; `ProtocolViolationError` if it is not its turn.

    `keyring`: a hospital's; None: the keys of a simulated site, in its folder.
    """
    folder = _folder(site, job)
    keys = keyring or simulated_keyring(folder)
    identity = keys.identity
    if asked.step == "keys":
        secrets, announced = announce_keys(asked.context, site.name, identity)
        _keep(folder, KeptRound(secrets=secrets))
        return SecureReply(
            site=site.name,
            announced=announced,
            identity=pem_of(identity.public_key()) if keys.simulated else b"",
            sources=_sources(site),
        )
    kept = _kept(folder, asked)
    if kept.reply is not None and kept.asked == _digest(asked):
        return kept.reply
    secrets = kept.secrets
    if asked.step == "letters":
        secrets.roster = dict(asked.identities)
        others = keys.others(secrets.roster)
        letters = share_secrets(secrets, asked.announced, others, keys.fewest)
        reply = SecureReply(site=site.name, letters=letters)
    elif asked.step == "confirm":
        signature = confirm_survivors(secrets, list(asked.survivors), identity)
        reply = SecureReply(site=site.name, signature=signature)
    elif asked.step == "reveal":
        shares = reveal_shares(secrets, asked.confirmations, keys.others(secrets.roster))
        reply = SecureReply(site=site.name, letters=shares)
    else:
        raise ProtocolViolationError(f"the step {asked.step!r} comes with a request to train")
    _keep(folder, KeptRound(secrets=secrets, asked=_digest(asked), reply=reply))
    return reply


def vector_sent_before(site: Site, job: Job, asked: SecureRequest | None) -> Vector | None:
    """The masked vector that answered this very request before; None if none did.

    It is the same to the bit, whatever weights the request holds: a second vector under the same
    masks would tell how the two differ, and under differential privacy have other noise.
    """
    if asked is None:
        return None
    folder = _folder(site, job)
    kept = _kept(folder, asked)
    if kept.reply is not None or kept.asked != _digest(asked):
        return None
    vector: Vector = np.load(folder / VECTOR, allow_pickle=False)
    return vector


def masked_vector(
    site: Site,
    job: Job,
    asked: SecureRequest,
    sent: tuple[Weights, Weights],
    trained: TrainingReply | None,
    validated: EvaluationReply | None,
) -> Vector:
    """All that the site found in the round, under its masks. `sent` are weights and extra arrays.

    A site that was not asked to train adds nothing to the update.
    """
    folder = _folder(site, job)
    secrets = _kept(folder, asked).secrets
    layout = round_vector(
        job.config,
        *sent,
        most=asked.most if asked.trains else None,
        sources=asked.sources if asked.validates else None,
    )
    update = weighted_update(trained, job.config.weighting) if trained else None
    masked = mask_vector(secrets, asked.letters, layout.encode(update, validated))
    content = io.BytesIO()
    np.save(content, masked)
    write_atomically(folder / VECTOR, content.getvalue())  # before the secrets say that it left
    _keep(folder, KeptRound(secrets=secrets, asked=_digest(asked)))
    return masked


def sites_sharing_noise(site: Site, job: Job, asked: SecureRequest | None) -> int:
    """How many sites bring the noise of one sum together: 1 where there is no secure sum.

    As many as must stay to the end, so that the sum has enough of it whoever is lost.
    """
    if asked is None:
        return 1
    return fewest_survivors(len(_kept(_folder(site, job), asked).secrets.announced))


def _sources(site: Site) -> tuple[str, ...]:
    """The sources that the site names when it validates."""
    return tuple(sorted({str(s) for part in (TRAIN, VAL) for s in site.splits[part].sources}))


def _folder(site: Site, job: Job) -> Path:
    return site.folder / job.strategy / "secure"


def _digest(asked: SecureRequest) -> str:
    return hashlib.sha256(asked.model_dump_json().encode()).hexdigest()


def _keep(folder: Path, kept: KeptRound) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / SECRETS, kept.model_dump_json().encode())


def _kept(folder: Path, asked: SecureRequest) -> KeptRound:
    """What is known of the round that is asked about; `ProtocolViolationError` without it."""
    path = folder / SECRETS
    kept = KeptRound.model_validate_json(path.read_text()) if path.exists() else None
    if kept is None or kept.secrets.context != asked.context:
        raise ProtocolViolationError("it made no keys for this round")
    return kept
