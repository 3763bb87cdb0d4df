"""A round under secure aggregation: five steps with all sites, and one sum at the end.

The server's checks of single answers see nothing through the masks. What is left to it: the size
and the sender of every vector, and limits on the sum.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flwr.app import Message

from fl.messages.flower_arrays import to_array_record, with_extra
from fl.messages.flower_codec import evaluation_request
from fl.messages.flower_secure_codec import (
    SecureReply,
    SecureRequest,
    read_masked,
    read_secure_reply,
    secure_step_request,
    with_secure_step,
)
from fl.messages.payloads import EvaluationReply, SiteInfo, TrainingReply
from fl.messages.round_vector import ALL_SITES, RoundVector, round_vector
from fl.messages.update_weight import most_weight
from fl.privacy.differential_privacy.guarantee import is_private
from fl.privacy.secure_aggregation.errors import ProtocolViolationError, TooFewSitesError
from fl.privacy.secure_aggregation.unmasking import SecureSum
from fl.training.state_dict import Weights
from fl.util.errors import FederationError
from partitions.splits import VAL
from server.rounds.evaluation_validation import validate_evaluation
from server.rounds.reply_validation import LARGEST_EXTRA, validate_change, validate_weights
from server.rounds.site_requests import (
    SECURE_STEP,
    TRAINING,
    Federation,
    SiteRequest,
    send_requests,
)
from server.rounds.site_sampling import longest_first


@dataclass(frozen=True, kw_only=True)
class SecureResult:
    """The sums of a round over the sites that stayed, and why others did not."""

    trained: TrainingReply | None
    validated: EvaluationReply | None
    sites: tuple[str, ...]  # whose vectors are in the sums
    failures: list[dict[str, Any]]


@dataclass(kw_only=True)
class SecureRound:
    """One secure sum over sites. `training` are requests to train, by site; the others validate.

    `weights` and `extra` are what the requests hold; `number` is the round for the failures.
    """

    federation: Federation
    number: int
    weights: Weights
    extra: Weights
    training: Mapping[str, Message]
    validates: bool
    validated_round: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)

    def run(self) -> SecureResult:
        """All steps. `TooFewSitesError` if so many sites are lost that the sum stays masked."""
        try:
            return self._summed()
        except TooFewSitesError as error:
            lost = "; ".join(f"{f['site']}: {f['reason']}" for f in self.failures)
            raise TooFewSitesError(f"{error} {lost}".strip()) from None

    def _summed(self) -> SecureResult:
        everyone = sorted(self.federation.sites) if self.validates else sorted(self.training)
        job = self.federation.job
        context = f"{job.run or 'simulation'}/{job.config.seed}/{job.strategy}/{self.number}"
        secure = SecureSum(context)
        self._secure, self._base = secure, SecureRequest(context=context, step="keys")

        keys = self._step(everyone, lambda site: self._base)
        secure.take_keys({s: r.announced for s, r in keys.items() if r.announced is not None})
        sources = tuple(sorted({name for reply in keys.values() for name in reply.sources}))
        asked = self._asked(
            "letters",
            announced=secure.announced,
            identities={s: r.identity for s, r in keys.items() if r.identity},  # of a simulation
        )
        letters = self._step(secure.announced, lambda site: asked)
        secure.take_letters({site: reply.letters for site, reply in letters.items()})
        layout = self._send_for_vectors(letters, sources)
        secure.require_survivors()
        confirm = self._asked("confirm", survivors=tuple(secure.survivors))
        confirmed = self._step(secure.survivors, lambda site: confirm)
        secure.take_confirmations({site: reply.signature for site, reply in confirmed.items()})
        reveal = self._asked("reveal", confirmations=secure.confirmations)
        revealed = self._step(secure.confirmations, lambda site: reveal)
        try:
            total = secure.unmasked({site: reply.letters for site, reply in revealed.items()})
            trained, validated = layout.decode(total)
            self._check_sums(trained, validated)
        except ProtocolViolationError as error:
            raise FederationError(f"Round {self.number}: {error}") from None
        return SecureResult(
            trained=trained,
            validated=validated,
            sites=tuple(secure.survivors),
            failures=self.failures,
        )

    def _asked(self, step: str, **fields: Any) -> SecureRequest:
        return self._base.model_copy(update={"step": step, **fields})

    def _step(
        self, sites: Iterable[str], asked: Callable[[str], SecureRequest]
    ) -> dict[str, SecureReply]:
        """One step without a vector; the answers by site. Who does not answer has left."""
        found: dict[str, SecureReply] = {}
        job = self.federation.job

        def read(site: str, message: Message) -> None:
            reply = read_secure_reply(message)
            if reply.site != site:
                raise ValueError(f"it calls itself {reply.site!r}")
            found[site] = reply

        requests = {
            site: SiteRequest(
                request=secure_step_request(
                    job, self.federation.nodes[site], self.number, asked(site)
                ),
                round_number=self.number,
                doing=SECURE_STEP,
                read=read,
            )
            for site in sites
        }
        self.failures += send_requests(self.federation, requests)
        return {site: found[site] for site in sorted(found)}

    def _send_for_vectors(
        self, shared: Mapping[str, SecureReply], sources: Sequence[str]
    ) -> RoundVector:
        """Step 3: training, validation or both, and the masked vectors into the sum."""
        federation, config = self.federation, self.federation.job.config
        # Whoever was asked counts here, so that all sites find the same scale.
        most = most_weight((federation.sites[s] for s in self.training), config.weighting)
        trains = bool(self.training)
        layout = round_vector(
            config,
            self.weights,
            self.extra,
            most=most if trains else None,
            sources=sources if self.validates else None,
        )

        def read(site: str, message: Message) -> None:
            name, vector = read_masked(message, layout.size)
            if name != site:
                raise ValueError(f"it calls itself {name!r}")
            self._secure.add(site, vector)

        plain = to_array_record(with_extra(self.weights, self.extra))
        requests = {}
        order = [site for site in self.training if site in shared]
        others = shared.keys() - self.training.keys()
        order += longest_first(others, {s: federation.sites[s].n_val for s in others})
        for site in order:
            asked = self._asked(
                "vector",
                letters=self._secure.letters_to(site),
                most=most,
                sources=sources,
                trains=trains,
                validates=self.validates,
            )
            request = self.training.get(site) or evaluation_request(
                federation.job, plain, federation.nodes[site], self.validated_round, VAL
            )
            requests[site] = SiteRequest(
                request=with_secure_step(request, asked),
                round_number=self.number,
                doing=TRAINING if site in self.training else VAL,
                read=read,
            )
        self.failures += send_requests(federation, requests)
        return layout

    def _check_sums(self, trained: TrainingReply | None, validated: EvaluationReply | None) -> None:
        """`ProtocolViolationError` unless the sums can be those of honest sites."""
        stayed = [self.federation.sites[site] for site in self._secure.survivors]
        trainees = [info for info in stayed if info.site in self.training]
        try:
            if trained is not None:
                weighting = self.federation.job.config.weighting
                _check_update(trained, most_weight(trainees, weighting), self.weights, self.extra)
            if validated is not None:
                together = SiteInfo(
                    site=ALL_SITES,
                    n_train=sum(info.n_train for info in stayed),
                    n_val=sum(info.n_val for info in stayed),
                    n_test=sum(info.n_test for info in stayed),
                )
                noised = is_private(self.federation.job.config)
                validate_evaluation(validated, together, self.federation.task, VAL, noised)
        except ValueError as error:
            raise ProtocolViolationError(
                f"the sum over {len(stayed)} sites cannot be one of honest answers: {error}. "
                "Under secure aggregation nobody can tell whose it is. Run without it, or with "
                "fewer sites, to find out"
            ) from None


def _check_update(trained: TrainingReply, most: int, weights: Weights, extra: Weights) -> None:
    """`ValueError` unless the average and its counts are within their limits."""
    if not 0 < trained.n_records <= most:
        raise ValueError(f"they count {trained.n_records}, of {most} in their first words")
    for name, counts in (("annotated", trained.annotated), ("recorded", trained.recorded)):
        if min(counts) < 0 or max(counts) > trained.n_records:
            raise ValueError(f"{name} is {counts}, of {trained.n_records} in all")
    if not 0 <= trained.steps <= trained.n_seen:
        raise ValueError(f"{trained.steps} steps on {trained.n_seen} examples")
    start = {name: weights[name] for name in trained.weights}
    validate_weights(trained.weights, start)
    validate_change(trained.weights, start)
    validate_weights(trained.extra, extra, LARGEST_EXTRA)


def secure_validation(
    federation: Federation, weights: Weights, number: int
) -> tuple[list[EvaluationReply], list[dict[str, Any]]]:
    """The sum of all sites' validation of some weights, as one reply; and who left."""
    done = SecureRound(
        federation=federation,
        number=number,
        weights=weights,
        extra={},
        training={},
        validates=True,
        validated_round=number,
    ).run()
    return [done.validated] if done.validated else [], done.failures
