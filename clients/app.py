"""The ClientApp: one Flower client acts for one site, in simulation and in deployment alike."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import torch  # noqa: F401  (workers must have torch loaded before Flower unpickles the app)
from flwr.app import Context, Message, MessageType
from flwr.clientapp import ClientApp

from clients.deploy import deployed_site
from clients.deploy.site_folder import SITE_KEY
from clients.deploy.site_policy.policy_file import policy_of
from clients.deploy.site_policy.request_audit import RequestAudit
from clients.deploy.site_policy.request_check import Asked, require_permitted
from clients.deploy.site_policy.revealing_weights import require_varied_answers
from clients.deploy.site_settings import SiteSettings, is_deployed
from clients.local_evaluation import evaluate_site, site_test
from clients.local_training import site_info, train_site
from clients.secure_keys import Keyring, hospital_keyring
from clients.secure_steps import (
    answer_step,
    masked_vector,
    sites_sharing_noise,
    vector_sent_before,
)
from clients.shared_evaluation import (
    Requests,
    evaluated_together,
    may_share,
    predicted_before,
)
from clients.simulated_sites import Site, open_site, open_trainee
from fl.messages.flower_arrays import packed, split_extra, unpacked
from fl.messages.flower_codec import (
    check_egress,
    evaluation_reply,
    failure_reply,
    read_job,
    read_mu,
    read_round,
    read_split,
    read_validate_first,
    read_weights,
    site_info_reply,
    training_reply,
)
from fl.messages.flower_secure_codec import (
    SecureRequest,
    check_secure_egress,
    masked_reply,
    read_secure_request,
    secure_step_reply,
)
from fl.messages.job import Job
from fl.messages.reply_signature import read_signing_key, sign_reply
from fl.privacy.egress_policy import PolicyRefusal
from fl.privacy.secure_aggregation.errors import ProtocolViolationError
from fl.training.device import one_thread
from fl.util.errors import ConfigError
from fl.util.one_line import one_line
from partitions.splits import TEST, VAL


def egress_guard(
    message: Message, context: Context, answer: Callable[[Message, Context], Message]
) -> Message:
    """Answer a request; a hospital's reply is checked against the list of what may leave.

    Why a request failed stays in the hospital's own log, and the next one is answered. Request
    and answer are lines of its audit log before the answer leaves, signed with the site's key.
    """
    if not is_deployed(context.node_config):
        return answer(message, context)
    audit = RequestAudit(context.node_config, message)
    try:
        request = unpacked(message)
        audit.asked(request)
        reply = answer(request, context)
        (check_secure_egress if read_secure_request(request) else check_egress)(reply, request)
        facts = audit.answered(reply)
        return sign_reply(packed(reply), facts, read_signing_key(audit.folder / SITE_KEY))
    except KeyboardInterrupt:
        raise  # whoever runs the site ends it
    except BaseException as error:  # also SystemExit, which a library may raise
        log = logging.getLogger("heartfed")
        if isinstance(error, PolicyRefusal):
            log.warning("a request is refused: %s", one_line(str(error)))
        else:
            log.error("a request failed", exc_info=error)
        audit.not_answered(error)
        return failure_reply(error, message)


class GuardedApp(ClientApp):
    """The ClientApp behind `egress_guard`, whatever the message.

    One of Flower's mods stands before a known kind of message only; a message of another kind
    raises an error past it.
    """

    def __call__(self, message: Message, context: Context) -> Message:
        return egress_guard(message, context, super().__call__)

    def sharing(
        self, messages: Sequence[Message], contexts: Sequence[Context]
    ) -> AbstractContextManager[None]:
        """In this context several simulated sites have what can be computed for all at once."""
        return evaluated_together(partial(_evaluations, messages, contexts))


def _evaluations(messages: Sequence[Message], contexts: Sequence[Context]) -> Requests | None:
    """What these requests ask simulated sites to evaluate; None where sites share nothing."""
    job = read_job(messages[0])
    if not may_share(job):
        return None
    evaluations = []
    for message, context in zip(messages, contexts, strict=True):
        number, kind = int(context.node_config["partition-id"]), message.metadata.message_type
        if kind == MessageType.EVALUATE:
            evaluations.append((number, *read_split(message)))
        elif kind == MessageType.TRAIN and read_validate_first(message):
            evaluations.append((number, VAL, None))
    weights, _ = split_extra(read_weights(messages[0])) if evaluations else ({}, {})
    return Requests(job=job, weights=weights, evaluations=evaluations)


app = GuardedApp()


def _site(message: Message, context: Context) -> tuple[Job, Site]:
    job = read_job(message)
    if is_deployed(context.node_config):
        settings = SiteSettings.from_node(context.node_config)
        require_permitted(_asked(message), job, settings)
        one_thread()
        site = deployed_site.open_site(job, settings)
        return deployed_site.with_site_device(job, settings), site
    return job, open_site(job, int(context.node_config["partition-id"]))


def _keyring(context: Context) -> Keyring | None:
    """A hospital's keys for a secure sum; None in a simulation. `ConfigError` without a key."""
    if not is_deployed(context.node_config):
        return None
    settings = SiteSettings.from_node(context.node_config)
    folder = Path(settings.folder)
    own = read_signing_key(folder / SITE_KEY)
    if own is None:
        raise ConfigError(f"{folder / SITE_KEY}: there is no key to sign with.")
    return hospital_keyring(folder, settings.site, own, policy_of(folder).fewest_sites)


def _require_secure(asked: SecureRequest | None, job: Job) -> None:
    """`ProtocolViolationError` if what must leave under masks alone is asked for without them."""
    if job.config.secure_aggregation and asked is None:
        raise ProtocolViolationError("a run under secure aggregation asks for a plain answer")


def _asked(message: Message) -> Asked:
    """What a request asks of a hospital, beside the run's settings."""
    kind = message.metadata.message_type
    if kind == MessageType.TRAIN:
        splits = (VAL,) if read_validate_first(message) else ()
        number, mu = read_round(message), read_mu(message)
        return Asked(kind=kind, round=number, mu=mu, splits=splits)
    if kind == MessageType.EVALUATE:
        return Asked(kind=kind, round=read_round(message), splits=(read_split(message)[0],))
    return Asked(kind=kind)


@app.query()
def query(message: Message, context: Context) -> Message:
    """Which site is this, and how much does it hold? Or a step of a secure sum."""
    job, site = _site(message, context)
    asked = read_secure_request(message)
    if asked is not None:
        return secure_step_reply(answer_step(site, job, asked, _keyring(context)), message)
    return site_info_reply(site_info(site, job.config.per_recording), message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """One round's training on the site's own records; if asked, it first validates the weights."""
    job, site = _site(message, context)
    if not is_deployed(context.node_config):
        site = open_trainee(job, int(context.node_config["partition-id"]))
    weights, extra = split_extra(read_weights(message))
    number, mu = read_round(message), read_mu(message)
    if is_deployed(context.node_config):
        require_varied_answers(site, job, weights, number)
    asked = read_secure_request(message)
    _require_secure(asked, job)
    if (vector := vector_sent_before(site, job, asked)) is not None:
        return masked_reply(site.name, vector, message)
    sharing = sites_sharing_noise(site, job, asked)
    validation = None
    if read_validate_first(message):
        validation = evaluate_site(site, job, weights, VAL, None, number - 1, sharing)
    validated = validation is not None and predicted_before(site, VAL) is None
    trained = train_site(site, job, weights, number, mu, extra, sharing, validated)
    if asked is not None:
        vector = masked_vector(site, job, asked, (weights, extra), trained, validation)
        return masked_reply(site.name, vector, message)
    return training_reply(trained, message, validation)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """How well the given weights do on the site's own records."""
    job, site = _site(message, context)
    split, rule = read_split(message)
    number = read_round(message)
    weights, extra = split_extra(read_weights(message))
    asked = read_secure_request(message)
    if (vector := vector_sent_before(site, job, asked)) is not None:
        return masked_reply(site.name, vector, message)
    if asked is not None:
        sharing = sites_sharing_noise(site, job, asked)
        validated = evaluate_site(site, job, weights, VAL, None, number, sharing)
        vector = masked_vector(site, job, asked, (weights, extra), None, validated)
        return masked_reply(site.name, vector, message)
    if split != TEST:
        _require_secure(asked, job)
    if split != TEST or rule is None:
        evaluated = evaluate_site(site, job, weights, split, rule, number)
    else:
        tested = site_test(site, job, weights, rule, number)
        evaluated = tested.reply
        if is_deployed(context.node_config) and len(site.splits[TEST]):
            settings = SiteSettings.from_node(context.node_config)
            deployed_site.write_site_report(site, settings, job, tested.rule, number, weights)
    if is_deployed(context.node_config):
        evaluated = deployed_site.permitted_evaluation(evaluated, job.config)
    return evaluation_reply(evaluated, message)
