"""A site's part of a secure sum: keys, letters, the masked vector, and shares for those who left.

What it keeps between the steps of a round lies in its own folder, readable by it alone.
"""

from pathlib import Path

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
    as_json,
    confirm_survivors,
    mask_vector,
    reveal_shares,
    secrets_from_json,
    share_secrets,
)
from fl.privacy.secure_aggregation.masks import Vector
from fl.privacy.secure_aggregation.neighbours import fewest_survivors
from fl.privacy.secure_aggregation.round_keys import pem_of
from fl.training.state_dict import Weights
from fl.util.atomic_io import write_atomically
from partitions.splits import TRAIN, VAL

SECRETS = "secrets.json"


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
        _keep(folder, secrets)
        return SecureReply(
            site=site.name,
            announced=announced,
            identity=pem_of(identity.public_key()) if keys.simulated else b"",
            sources=_sources(site),
        )
    secrets = _kept(folder, asked)
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
    _keep(folder, secrets)
    return reply


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
    secrets = _kept(folder, asked)
    layout = round_vector(
        job.config,
        *sent,
        most=asked.most if asked.trains else None,
        sources=asked.sources if asked.validates else None,
    )
    update = weighted_update(trained, job.config.weighting) if trained else None
    masked = mask_vector(secrets, asked.letters, layout.encode(update, validated))
    _keep(folder, secrets)
    return masked


def sites_sharing_noise(site: Site, job: Job, asked: SecureRequest | None) -> int:
    """How many sites bring the noise of one sum together: 1 where there is no secure sum.

    As many as must stay to the end, so that the sum has enough of it whoever is lost.
    """
    if asked is None:
        return 1
    return fewest_survivors(len(_kept(_folder(site, job), asked).announced))


def _sources(site: Site) -> tuple[str, ...]:
    """The sources that the site names when it validates."""
    return tuple(sorted({str(s) for part in (TRAIN, VAL) for s in site.splits[part].sources}))


def _folder(site: Site, job: Job) -> Path:
    return site.folder / job.strategy / "secure"


def _keep(folder: Path, secrets: SiteSecrets) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / SECRETS, as_json(secrets).encode())


def _kept(folder: Path, asked: SecureRequest) -> SiteSecrets:
    """The secrets of the round that is asked about; `ProtocolViolationError` without them."""
    path = folder / SECRETS
    secrets = secrets_from_json(path.read_text()) if path.exists() else None
    if secrets is None or secrets.context != asked.context:
        raise ProtocolViolationError("it made no keys for this round")
    return secrets
