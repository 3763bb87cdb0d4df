"""What crosses between server and sites, and only here as Flower messages.

Requests carry weights and the run's settings; replies carry weights and counts that add. No
record, patient, file name or prediction of one recording has a place in a reply: `fl/leaving.py`
is the list of what may leave, and `refuse_unlisted` holds every reply of a hospital against it.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import safetensors.numpy
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Error,
    Message,
    MessageType,
    MetricRecord,
    RecordDict,
)
from flwr.common.constant import ErrorCode, SType
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError

from fl import leaving
from fl.config import RunConfig
from fl.metrics import Tally, Thresholds
from fl.weights import Weights

ARRAYS, CONFIG, METRICS = "arrays", "config", "metrics"  # the one record of each kind
FOLDED = "folded"  # the one array of a record that holds all of them
MEASURED = "measured-"  # before the names of a training reply's records of what it was sent
CONTROL = "control/"  # before the name of an entry of SCAFFOLD's control variate
WEIGHTED_BY = "num-examples"  # the key by which Flower's strategies weigh a reply


class Job(BaseModel):
    """A run as its workers know it: settings, and where the simulation keeps things.

    A deployed site knows its own folders and is sent neither workspace nor shards.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: RunConfig
    strategy: str  # name under which this training is reported
    workspace: str = ""  # run directory
    shards: tuple[str, ...] = ()  # cache folders
    n_sites: int = 0  # sites that train; 0: as many as the settings say, none is held out
    run: str = ""  # deployed: the run's name, under which a site keeps what stays there
    version: str = ""  # deployed: of the coordinator's programme
    nodes: dict[str, int] = {}  # deployed: site -> the node whose key was approved for it

    @property
    def expected(self) -> int:
        """How many sites to wait for."""
        return self.n_sites or self.config.clients

    @property
    def deployed(self) -> bool:
        """Whether the sites are hospitals, and not parts of a simulation."""
        return bool(self.run)

    def outward(self) -> "Job":
        """What a site is told: a hospital has no use for the coordinator's folders."""
        if not self.deployed:
            return self
        config = self.config.model_copy(update={"data_dir": "", "sources": ""})
        return self.model_copy(
            update={"config": config, "workspace": "", "shards": (), "nodes": {}}
        )


@dataclass(frozen=True, kw_only=True)
class Hello:
    """A site's first words: who it is and how much it holds."""

    site: str
    n_train: int
    n_val: int
    n_test: int


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a training visit sends back."""

    site: str
    weights: Mapping[str, NDArray[Any]]
    n_records: int  # training records: the averaging factor
    annotated: tuple[int, ...]  # (class,) training records that annotate the class
    recorded: tuple[int, ...]  # (lead,) training records that hold the lead
    loss_sum: float
    n_seen: int
    steps: int
    # SCAFFOLD: the server's control variate and the site's change.
    control: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What an evaluation visit sends back: counts by score, and on test its final measures."""

    site: str
    source: str
    n_records: int
    n_patients: int
    loss_sum: float
    tally: Tally
    report: dict[str, Any]  # evaluate_group's result on test, empty on validation
    steps: int = 0  # gradient steps taken before measuring (finetune)


def run_settings(job: Job) -> ConfigRecord:
    """The settings that travel with every request."""
    return ConfigRecord({"job": job.outward().model_dump_json()})


@functools.cache
def _name_of(dtype: np.dtype[Any]) -> str:
    return str(dtype)


class Held(Array):
    """An array that is not turned into bytes: for one process, or Ray, and not for the wire.

    Flower's own holds the bytes, which for the many small entries of a network take longer than
    a simulation's round may, and Flower's wire takes no other class than its own (`folded` makes
    that). Nobody may change the values afterwards.
    """

    _values: NDArray[Any]

    def __init__(self, values: NDArray[Any]) -> None:
        # Past Flower's own bookkeeping for arrays that change: a round of many sites makes
        # hundreds of thousands.
        self.__dict__.update(
            dtype=_name_of(values.dtype), shape=values.shape, stype=SType.NUMPY, _values=values
        )

    @property
    def data(self) -> bytes:  # type: ignore[override]
        """The bytes that Flower's own would hold."""
        return Array(self.numpy()).data

    def numpy(self) -> NDArray[Any]:
        """The values themselves, not a copy."""
        return self._values

    def take_out(self) -> None:
        """Hold a copy instead, as where the values lie has no room for many."""
        self.__dict__["_values"] = self._values.copy()


class Later(Held):
    """An array that is looked up each time its values are asked for, and held by nobody else."""

    def __init__(self, weights: Mapping[str, NDArray[Any]], name: str) -> None:
        self.__dict__.update(stype=SType.NUMPY, _weights=weights, _name=name)

    @property
    def dtype(self) -> str:  # type: ignore[override]
        """Of its values."""
        return _name_of(self.numpy().dtype)

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """Of its values."""
        return self.numpy().shape

    def numpy(self) -> NDArray[Any]:
        """The values as they are now."""
        values: NDArray[Any] = self.__dict__["_weights"][self.__dict__["_name"]]
        return values


def pack(weights: Mapping[str, NDArray[Any]]) -> ArrayRecord:
    """Weights as Flower carries them; what is no dict is looked up when it is needed."""
    record = ArrayRecord()  # given them at once it would make arrays of its own
    for name in weights:
        if isinstance(weights, dict):
            record[name] = Held(np.asarray(weights[name], order="C"))
        else:
            record[name] = Later(weights, name)
    return record


def unpack(record: ArrayRecord) -> Weights:
    """Weights from a Flower record."""
    return {name: array.numpy() for name, array in record.items()}


def folded(message: Message) -> Message:
    """The message with all arrays of a record in one.

    Flower moves every array by itself, in three requests and three rows of a database at each
    stop; a network of fifty entries is moved in a tenth of the time when it is one.
    """
    for name, record in _array_records(message).items():
        if record:
            whole = np.frombuffer(safetensors.numpy.save(unpack(record)), dtype=np.uint8)
            sent = ArrayRecord({FOLDED: Array(whole)})
            message.content = RecordDict(dict(message.content) | {name: sent})
    return message


def unfolded(message: Message) -> Message:
    """What `folded` was given; another message as it is. `ValueError` if it is damaged."""
    for name, record in _array_records(message).items():
        if set(record) == {FOLDED}:
            try:
                arrays = safetensors.numpy.load(record[FOLDED].numpy().tobytes())
            except SafetensorError as error:
                raise ValueError(f"its arrays cannot be read ({error})") from None
            message.content = RecordDict(dict(message.content) | {name: pack(arrays)})
    return message


def _array_records(message: Message) -> dict[str, ArrayRecord]:
    return dict(message.content.array_records) if message.has_content() else {}


def with_control(weights: Weights, control: Weights) -> Weights:
    """Weights and control variate in one record, the form in which strategies merge both."""
    return weights | {f"{CONTROL}{name}": value for name, value in control.items()}


def split_control(both: Weights) -> tuple[Weights, Weights]:
    """What `with_control` joined."""
    control = {k.removeprefix(CONTROL): v for k, v in both.items() if k.startswith(CONTROL)}
    return {k: v for k, v in both.items() if not k.startswith(CONTROL)}, control


def query(job: Job, node: int) -> Message:
    """Ask a node which site it is."""
    return Message(RecordDict({CONFIG: run_settings(job)}), node, MessageType.QUERY)


def training_settings(job: Job, measure: bool = False) -> ConfigRecord:
    """The settings of a training visit. `measure`: validation of what is sent comes first."""
    config = run_settings(job)
    config["measure"] = measure
    return config


def train_request(job: Job, weights: ArrayRecord, node: int, round_number: int) -> Message:
    """Ask a node to train weights that will be merged with nobody's."""
    config = training_settings(job)
    config["server-round"] = round_number
    return Message(RecordDict({ARRAYS: weights, CONFIG: config}), node, MessageType.TRAIN)


def evaluate_request(
    job: Job,
    weights: ArrayRecord,
    node: int,
    round_number: int,
    split: str,
    thresholds: Mapping[str, Thresholds] | None = None,
) -> Message:
    """Ask a node to evaluate weights on one of its splits."""
    config = run_settings(job)
    config["server-round"] = round_number
    config["split"] = split
    config["thresholds"] = json.dumps(thresholds)
    return Message(RecordDict({ARRAYS: weights, CONFIG: config}), node, MessageType.EVALUATE)


def read_job(message: Message) -> Job:
    """The settings in a request."""
    return Job.model_validate_json(str(message.content.config_records[CONFIG]["job"]))


def relocate(message: Message, workspace: str, shards: tuple[str, ...]) -> None:
    """Let a request of a simulation name the folders of the machine that serves it."""
    job = read_job(message).model_copy(update={"workspace": workspace, "shards": shards})
    message.content.config_records[CONFIG]["job"] = job.model_dump_json()


def read_round(message: Message) -> int:
    """The round a request belongs to, from 1."""
    return int(str(message.content.config_records[CONFIG]["server-round"]))


def read_mu(message: Message) -> float:
    """FedProx's weight, which Flower's FedProx puts into its requests; 0 for the others."""
    return float(str(message.content.config_records[CONFIG].get("proximal-mu", 0.0)))


def read_measure(message: Message) -> bool:
    """Whether a training visit is to begin with the validation of what it is sent."""
    return bool(message.content.config_records[CONFIG].get("measure", False))


def read_split(message: Message) -> tuple[str, dict[str, Thresholds] | None]:
    """Which split to evaluate, and by which thresholds."""
    config = message.content.config_records[CONFIG]
    return str(config["split"]), json.loads(str(config["thresholds"]))


def read_weights(message: Message) -> Weights:
    """The weights in a message."""
    return unpack(message.content.array_records[ARRAYS])


def hello_reply(hello: Hello, request: Message) -> Message:
    """A node's answer to `query`."""
    counts = {"n-train": hello.n_train, "n-val": hello.n_val, "n-test": hello.n_test}
    return _reply(request, {"site": hello.site}, counts)


def read_hello(message: Message) -> Hello:
    """A node's answer to `query`."""
    site, counts = _site_and_metrics(message)
    return Hello(
        site=site,
        n_train=int(counts["n-train"]),
        n_val=int(counts["n-val"]),
        n_test=int(counts["n-test"]),
    )


def trained_reply(trained: Trained, request: Message, measured: Evaluated | None = None) -> Message:
    """A node's answer to a training visit, in the form that Flower's strategies merge.

    `measured`: of the weights that were sent, before they were trained; in records of its own.
    """
    metrics: dict[str, float | int | list[int]] = {
        WEIGHTED_BY: trained.n_records,
        "annotated": list(trained.annotated),
        "recorded": list(trained.recorded),
        "loss-sum": trained.loss_sum,
        "n-seen": trained.n_seen,
        "steps": trained.steps,
    }
    arrays = pack(trained.weights)
    for name, array in pack(trained.control).items():
        arrays[f"{CONTROL}{name}"] = array
    reply = _reply(request, {"site": trained.site}, metrics, arrays)
    if measured is not None:
        for name, record in evaluated_reply(measured, request).content.items():
            reply.content[f"{MEASURED}{name}"] = record
    return reply


def read_trained(message: Message) -> Trained:
    """A node's answer to a training visit."""
    site, metrics = _site_and_metrics(message)
    weights, control = split_control(read_weights(message))
    return Trained(
        site=site,
        weights=weights,
        control=control,
        n_records=int(metrics[WEIGHTED_BY]),
        annotated=tuple(int(n) for n in metrics["annotated"]),
        recorded=tuple(int(n) for n in metrics["recorded"]),
        loss_sum=float(metrics["loss-sum"]),
        n_seen=int(metrics["n-seen"]),
        steps=int(metrics["steps"]),
    )


def evaluated_reply(evaluated: Evaluated, request: Message) -> Message:
    """A node's answer to an evaluation visit."""
    config = {
        "site": evaluated.site,
        "source": evaluated.source,
        "report": json.dumps(evaluated.report),
    }
    metrics = {
        WEIGHTED_BY: evaluated.n_records,
        "n-patients": evaluated.n_patients,
        "loss-sum": evaluated.loss_sum,
        "steps": evaluated.steps,
    }
    counts: Weights = {
        "positive": evaluated.tally.positive,
        "negative": evaluated.tally.negative,
        "argmax": evaluated.tally.argmax,
    }
    return _reply(request, config, metrics, pack(counts))


def read_evaluated(message: Message) -> Evaluated:
    """A node's answer to an evaluation visit."""
    return _evaluated(message.content)


def read_measured(message: Message) -> Evaluated:
    """What a node's answer to a training visit says of the weights it was sent."""
    return _evaluated(_apart(message.content)[1])


def _apart(content: RecordDict) -> tuple[RecordDict, RecordDict]:
    """The records of an update, and those that tell of the weights it began from."""
    told = {k.removeprefix(MEASURED): v for k, v in content.items() if k.startswith(MEASURED)}
    rest = {k: v for k, v in content.items() if not k.startswith(MEASURED)}
    return RecordDict(rest), RecordDict(told)


def _evaluated(content: RecordDict) -> Evaluated:
    config, metrics = content.config_records[CONFIG], content.metric_records[METRICS]
    counts = {k: v.astype(np.int64) for k, v in unpack(content.array_records[ARRAYS]).items()}
    found: dict[str, Any] = dict(metrics)
    return Evaluated(
        site=str(config["site"]),
        source=str(config["source"]),
        n_records=int(found[WEIGHTED_BY]),
        n_patients=int(found["n-patients"]),
        loss_sum=float(found["loss-sum"]),
        tally=Tally(counts["positive"], counts["negative"], counts["argmax"]),
        report=json.loads(str(config["report"])),
        steps=int(found["steps"]),
    )


def failed_reply(error: BaseException, request: Message) -> Message:
    """What a hospital tells of an error: one of a few general reasons."""
    reason = leaving.reason_of(error)
    return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=request)


def refuse_unlisted(reply: Message, request: Message) -> None:
    """`Withheld` unless the reply holds what may leave a hospital and nothing else."""
    if reply.has_error():
        if reply.error.reason not in leaving.REASONS.values():
            raise leaving.Withheld("an error's own words")
        return
    content, kind = reply.content, request.metadata.message_type
    if kind == MessageType.TRAIN and read_measure(request):
        content, told = _apart(content)
        _refuse_unlisted(told, MessageType.EVALUATE, request)
    _refuse_unlisted(content, kind, request)


def _refuse_unlisted(content: RecordDict, kind: str, request: Message) -> None:
    if set(content) - {ARRAYS, CONFIG, METRICS}:
        raise leaving.Withheld(f"records that are not on the list: {sorted(content)}")
    words = dict(content.config_records.get(CONFIG, {}))
    asked = request.content.array_records.get(ARRAYS, ArrayRecord())
    leaving.refuse_unlisted(
        kind,
        words,
        dict(content.metric_records.get(METRICS, {})),
        unpack(content.array_records.get(ARRAYS, ArrayRecord())),
        {name: tuple(array.shape) for name, array in asked.items()},
    )
    leaving.refuse_report(json.loads(str(words.get("report", "{}"))))


def _reply(
    request: Message,
    config: Mapping[str, str],
    metrics: Mapping[str, float | int | list[int]],
    arrays: ArrayRecord | None = None,
) -> Message:
    content = RecordDict({CONFIG: ConfigRecord(dict(config)), METRICS: MetricRecord(dict(metrics))})
    if arrays is not None:
        content[ARRAYS] = arrays
    return Message(content, reply_to=request)


def _site_and_metrics(message: Message) -> tuple[str, dict[str, Any]]:
    site = str(message.content.config_records[CONFIG]["site"])
    return site, dict(message.content.metric_records[METRICS])
