"""What crosses between server and sites, and only here as Flower messages.

Requests carry weights and the run's settings; replies carry weights and counts that add. No
record, patient, file name or prediction of one recording has a place in a reply:
`fl/privacy/egress_policy.py` lists what may leave, and every reply of a hospital is checked
against it.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from flwr.app import (
    ArrayRecord,
    ConfigRecord,
    Error,
    Message,
    MessageType,
    MetricRecord,
    RecordDict,
)

from fl.evaluation.decisions.decision_rule import DecisionRule
from fl.evaluation.decisions.score_histograms import ScoreHistograms
from fl.evaluation.group_evaluation import GroupMeasures
from fl.messages.flower_arrays import EXTRA, from_array_record, split_extra, to_array_record
from fl.messages.flower_records import arrays_in, record_in
from fl.messages.job import Job
from fl.messages.payloads import EvaluationReply, SiteInfo, SourceValidation, TrainingReply
from fl.messages.reply_numbers import count_in, counts_in, number_in
from fl.privacy import egress_policy
from fl.training.state_dict import Weights
from fl.util.errors import DataError

ARRAYS, CONFIG, METRICS = "arrays", "config", "metrics"  # the one record of each kind
# Before the names of a training reply's records that hold validation of the incoming weights.
VALIDATION_PREFIX = "validation-"
VALIDATE_FIRST = "validate-first"  # key of a training request's settings
HISTOGRAMS = ("positive", "negative", "patients")  # fields of ScoreHistograms
RULE = "decision-rule"  # key of an evaluation request's settings
WEIGHTED_BY = "num-examples"  # the key by which Flower's strategies weigh a reply
MOST_SOURCES = 64  # of one site
LONGEST_REPORT = 2**20  # characters of a site's own measures
CLIENT_FAILED = 2  # the code that Flower's own engine gives a client's exception


def run_settings(job: Job) -> ConfigRecord:
    """The settings that travel with every request."""
    return ConfigRecord({"job": job.for_sites().model_dump_json()})


def site_info_request(job: Job, node: int) -> Message:
    """Ask a node which site it is."""
    return Message(RecordDict({CONFIG: run_settings(job)}), node, MessageType.QUERY)


def training_settings(job: Job, validate_first: bool = False) -> ConfigRecord:
    """The settings of a request to train; the site may be asked to validate the weights first."""
    config = run_settings(job)
    config[VALIDATE_FIRST] = validate_first
    return config


def training_request(job: Job, weights: ArrayRecord, node: int, round_number: int) -> Message:
    """Ask a node to train weights that are not merged with those of other sites."""
    config = training_settings(job)
    config["server-round"] = round_number
    return Message(RecordDict({ARRAYS: weights, CONFIG: config}), node, MessageType.TRAIN)


def evaluation_request(
    job: Job,
    weights: ArrayRecord,
    node: int,
    round_number: int,
    split: str,
    rule: DecisionRule | None = None,
) -> Message:
    """Ask a node to evaluate weights on one of its splits."""
    config = run_settings(job)
    config["server-round"] = round_number
    config["split"] = split
    config[RULE] = json.dumps(rule.to_json() if rule else None)
    return Message(RecordDict({ARRAYS: weights, CONFIG: config}), node, MessageType.EVALUATE)


def _config_of(content: RecordDict) -> ConfigRecord:
    return record_in(content, CONFIG, ConfigRecord)


def read_job(message: Message) -> Job:
    """The settings in a request."""
    return _parsed_job(str(_config_of(message.content)["job"]))


@lru_cache(maxsize=4)
def _parsed_job(text: str) -> Job:
    """The settings, which all requests of a round have in common."""
    return Job.model_validate_json(text)


def set_local_folders(message: Message, workspace: str, shards: tuple[str, ...]) -> None:
    """Let a request of a simulation name the folders of the machine that serves it."""
    job = read_job(message).model_copy(update={"workspace": workspace, "shards": shards})
    _config_of(message.content)["job"] = job.model_dump_json()


def read_round(message: Message) -> int:
    """The round a request belongs to, from 1."""
    return int(str(_config_of(message.content)["server-round"]))


def read_mu(message: Message) -> float:
    """FedProx's weight, which Flower's FedProx puts into its requests; 0 for the others."""
    return float(str(_config_of(message.content).get("proximal-mu", 0.0)))


def read_validate_first(message: Message) -> bool:
    """Whether a site is to validate the weights it is sent before it trains them."""
    return bool(_config_of(message.content).get(VALIDATE_FIRST, False))


def read_split(message: Message) -> tuple[str, DecisionRule | None]:
    """Which split to evaluate, and by which rule."""
    config = _config_of(message.content)
    return str(config["split"]), _parsed_rule(str(config[RULE]))


@lru_cache(maxsize=4)
def _parsed_rule(text: str) -> DecisionRule | None:
    """The decision rule, which all requests of a test have in common."""
    content = json.loads(text)
    return DecisionRule.from_json(content, "the request's decision rule") if content else None


def read_weights(message: Message) -> Weights:
    """The weights in a message."""
    return from_array_record(record_in(message.content, ARRAYS, ArrayRecord))


def site_info_reply(info: SiteInfo, request: Message) -> Message:
    """A node's answer to `site_info_request`."""
    counts = {"n-train": info.n_train, "n-val": info.n_val, "n-test": info.n_test}
    content = _content({"site": info.site}, counts | {"n-records": info.n_records})
    return Message(content, reply_to=request)


def read_site_info(message: Message) -> SiteInfo:
    """A node's answer to `site_info_request`."""
    site, counts = _site_and_metrics(message)
    return SiteInfo(
        site=site,
        n_train=count_in(counts, "n-train"),
        n_val=count_in(counts, "n-val"),
        n_test=count_in(counts, "n-test"),
        n_records=count_in(counts, "n-records"),
    )


def training_reply(
    trained: TrainingReply, request: Message, validation: EvaluationReply | None = None
) -> Message:
    """A node's answer to a request to train, in the form that Flower's strategies merge.

    `validation` is of the weights that were sent, before training; it has records of its own.
    """
    metrics: dict[str, float | int | list[int]] = {
        WEIGHTED_BY: trained.n_records,
        "annotated": list(trained.annotated),
        "recorded": list(trained.recorded),
        "loss-sum": trained.loss_sum,
        "n-seen": trained.n_seen,
        "steps": trained.steps,
        "train-patients": trained.n_patients,
    }
    arrays = to_array_record(trained.weights)
    for name, array in to_array_record(trained.extra).items():
        arrays[f"{EXTRA}{name}"] = array
    content = _content({"site": trained.site}, metrics, arrays)
    if validation is not None:
        for name, record in _evaluation_content(validation).items():
            content[f"{VALIDATION_PREFIX}{name}"] = record
    return Message(content, reply_to=request)


def read_training_reply(message: Message) -> TrainingReply:
    """A node's answer to a request to train."""
    site, metrics = _site_and_metrics(message)
    weights, extra = split_extra(read_weights(message))
    return TrainingReply(
        site=site,
        weights=weights,
        extra=extra,
        n_records=count_in(metrics, WEIGHTED_BY),
        annotated=counts_in(metrics, "annotated"),
        recorded=counts_in(metrics, "recorded"),
        loss_sum=number_in(metrics, "loss-sum"),
        n_seen=count_in(metrics, "n-seen"),
        steps=count_in(metrics, "steps"),
        n_patients=count_in(metrics, "train-patients"),
    )


def evaluation_reply(evaluated: EvaluationReply, request: Message) -> Message:
    """A node's answer to a request to evaluate."""
    return Message(_evaluation_content(evaluated), reply_to=request)


def _evaluation_content(evaluated: EvaluationReply) -> RecordDict:
    """The records of an evaluation; its histograms are stacked, one per source."""
    by_source = evaluated.by_source
    config: dict[str, str | list[str]] = {
        "site": evaluated.site,
        "sources": list(by_source),
        "report": json.dumps(evaluated.report.to_json() if evaluated.report else {}),
    }
    metrics: dict[str, float | int | list[int]] = {
        WEIGHTED_BY: evaluated.n_records,
        "patients": evaluated.n_patients,
        "n-patients": [source.n_patients for source in by_source.values()],
        "loss-sum": evaluated.loss_sum,
        "steps": evaluated.steps,
    }
    if not by_source:
        return _content(config, metrics)
    stacked: Weights = {
        name: np.stack([getattr(source.scores, name) for source in by_source.values()])
        for name in HISTOGRAMS
    }
    return _content(config, metrics, to_array_record(stacked))


def read_evaluation_reply(message: Message) -> EvaluationReply:
    """A node's answer to a request to evaluate."""
    return _read_evaluation(message.content)


def read_incoming_validation(message: Message) -> EvaluationReply:
    """The validation of the incoming weights in a node's answer to a request to train."""
    return _read_evaluation(_validation_in(message.content))


def _split_validation(content: RecordDict) -> tuple[RecordDict, RecordDict]:
    """The records of an update, and those of the validation of the incoming weights."""
    update = {k: v for k, v in content.items() if not k.startswith(VALIDATION_PREFIX)}
    return RecordDict(update), _validation_in(content)


def _validation_in(content: RecordDict) -> RecordDict:
    return RecordDict(
        {
            k.removeprefix(VALIDATION_PREFIX): v
            for k, v in content.items()
            if k.startswith(VALIDATION_PREFIX)
        }
    )


def _read_evaluation(content: RecordDict) -> EvaluationReply:
    config = _config_of(content)
    numbers: dict[str, Any] = dict(record_in(content, METRICS, MetricRecord))
    return EvaluationReply(
        site=str(config["site"]),
        n_records=count_in(numbers, WEIGHTED_BY),
        n_patients=count_in(numbers, "patients"),
        loss_sum=number_in(numbers, "loss-sum"),
        by_source=_read_sources(
            config["sources"],
            counts_in(numbers, "n-patients"),
            arrays_in(content).get(ARRAYS, ArrayRecord()),
        ),
        report=_read_measures(str(config["report"])),
        steps=count_in(numbers, "steps"),
    )


def _read_sources(
    names: Any, n_patients: tuple[int, ...], stacked: ArrayRecord
) -> dict[str, SourceValidation]:
    """Validation by source; `ValueError` unless every source has one entry everywhere."""
    if not names:
        return {}
    if not isinstance(names, list) or len(names) > MOST_SOURCES:
        raise ValueError(f"its sources are no list of at most {MOST_SOURCES} names")
    arrays = from_array_record(stacked)
    histograms = [arrays[name] for name in HISTOGRAMS]
    for name, values in zip(HISTOGRAMS, histograms, strict=True):
        if values.dtype.kind not in "iu" or values.ndim != 3:
            raise ValueError(f"{name} holds no counts of each source ({values.dtype})")
    histograms = [values.astype(np.int64) for values in histograms]
    counts = {len(set(names)), len(n_patients), *(len(array) for array in histograms)}
    if counts != {len(names)}:
        raise ValueError(f"sources {names} do not fit their patients and histograms")
    return {
        str(name): SourceValidation(n_patients=int(n), scores=ScoreHistograms(*scores))
        for name, n, *scores in zip(names, n_patients, *histograms, strict=True)
    }


def _read_measures(text: str) -> GroupMeasures | None:
    """A site's own measures; `ValueError` if they are not such measures."""
    if len(text) > LONGEST_REPORT:
        raise ValueError(f"its report has {len(text)} characters, more than {LONGEST_REPORT}")
    content = json.loads(text)
    try:
        return GroupMeasures.from_json(content, "its report") if content else None
    except DataError as error:
        raise ValueError(str(error)) from None


def failure_reply(error: BaseException, request: Message) -> Message:
    """What a hospital answers after an error: one of a few general reasons."""
    return Message(Error(CLIENT_FAILED, egress_policy.reason_for(error)), reply_to=request)


def check_egress(reply: Message, request: Message) -> None:
    """`EgressError` unless the reply holds what may leave a hospital and nothing else."""
    if reply.has_error():
        if reply.error.reason not in egress_policy.REASONS.values():
            raise egress_policy.EgressError("an error's own words")
        return
    content, kind = reply.content, request.metadata.message_type
    if kind == MessageType.TRAIN and read_validate_first(request):
        content, validation = _split_validation(content)
        _check_records(validation, MessageType.EVALUATE, request)
    _check_records(content, kind, request)


def _check_records(content: RecordDict, kind: str, request: Message) -> None:
    if set(content) - {ARRAYS, CONFIG, METRICS}:
        raise egress_policy.EgressError(f"records that are not on the list: {sorted(content)}")
    words = dict(content.config_records.get(CONFIG, {}))
    sent = request.content.array_records.get(ARRAYS, ArrayRecord())
    egress_policy.check_content(
        kind,
        words,
        dict(content.metric_records.get(METRICS, {})),
        from_array_record(content.array_records.get(ARRAYS, ArrayRecord())),
        {name: tuple(array.shape) for name, array in sent.items()},
    )
    egress_policy.check_report(json.loads(str(words.get("report", "{}"))))


def _content(
    config: Mapping[str, str | list[str]],
    metrics: Mapping[str, float | int | list[int]],
    arrays: ArrayRecord | None = None,
) -> RecordDict:
    content = RecordDict({CONFIG: ConfigRecord(dict(config)), METRICS: MetricRecord(dict(metrics))})
    if arrays is not None:
        content[ARRAYS] = arrays
    return content


def _site_and_metrics(message: Message) -> tuple[str, dict[str, Any]]:
    site = str(_config_of(message.content)["site"])
    return site, dict(record_in(message.content, METRICS, MetricRecord))
