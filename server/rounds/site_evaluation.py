"""Ask sites to evaluate weights on their own validation or test records."""

from collections.abc import Iterable

from flwr.app import Message

from fl.evaluation.decisions.decision_rule import DecisionRule
from fl.messages.flower_arrays import to_array_record
from fl.messages.flower_codec import evaluation_request, read_evaluation_reply
from fl.messages.payloads import EvaluationReply
from fl.privacy.differential_privacy.guarantee import is_private
from fl.training.state_dict import Weights
from partitions.splits import VAL
from server.rounds.checkpoints import TrainingProgress
from server.rounds.evaluation_validation import validate_evaluation
from server.rounds.site_requests import Federation, SiteRequest, send_requests
from server.rounds.site_sampling import longest_first


def evaluation_requests(
    federation: Federation,
    weights: Weights,
    number: int,
    split: str,
    sites: Iterable[str],
    evaluated: dict[str, EvaluationReply],
    rule: DecisionRule | None = None,
) -> dict[str, SiteRequest]:
    """Requests to evaluate weights, the longest first; the answers go into `evaluated`."""
    job, arrays = federation.job, to_array_record(weights)
    noised = is_private(job.config) and split == VAL

    def read(site: str, reply: Message) -> None:
        found = read_evaluation_reply(reply)
        evaluated[site] = validate_evaluation(found, info[site], federation.task, split, noised)

    info = federation.sites
    n_patients = {s: info[s].n_val if split == VAL else info[s].n_test for s in sites}
    return {
        site: SiteRequest(
            request=evaluation_request(job, arrays, federation.nodes[site], number, split, rule),
            round_number=number,
            doing=split,
            read=read,
        )
        for site in longest_first(n_patients, n_patients)
    }


def evaluate_sites(
    federation: Federation,
    progress: TrainingProgress,
    weights: Weights,
    number: int,
    split: str,
    rule: DecisionRule | None = None,
    sites: Iterable[str] | None = None,
) -> list[EvaluationReply]:
    """Evaluate weights at these sites, by default at all, in order of site name."""
    evaluated: dict[str, EvaluationReply] = {}
    asked = federation.sites if sites is None else sites
    requests = evaluation_requests(federation, weights, number, split, asked, evaluated, rule)
    progress.failures += send_requests(federation, requests)
    return [evaluated[site] for site in sorted(evaluated)]
