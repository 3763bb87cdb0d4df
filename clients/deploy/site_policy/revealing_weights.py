"""Weights that would turn an update into counts are refused before they are trained.

A network whose answer is the same for every recording has gradients that depend on the labels
alone: of a head of zeros, a class's bias moves by the share of the examples that show the class.
With plain gradient steps the coordinator reads the counts of every class from one update, also of
classes that --min-count withholds; with AdamW a step tells on which side of a chosen share they
are, and a few rounds find the count by halving. Source: Wainakh et al. 2022, arXiv:2107.01844
(labels from the gradients of the last layer).
"""

import numpy as np
import torch

from clients.local_evaluation import network_of_round
from clients.simulated_sites import Site
from fl.messages.job import Job
from fl.privacy.egress_policy import PolicyRefusal
from fl.training.loop import crop_batches, logits_of
from fl.training.state_dict import Weights
from partitions.splits import TRAIN

EXAMPLES = 32  # training examples that the weights are tried on
# Standard deviation of a class's log-odds over the examples. Weights drawn at random are above it
# (`tests/contracts/test_models.py`), and trained ones far above.
FLAT = 1e-3


def require_varied_answers(site: Site, job: Job, weights: Weights, number: int) -> None:
    """`PolicyRefusal` if weights of a round answer alike to all training examples of the site."""
    network = network_of_round(site, job, weights, number - 1).to(job.config.device).eval()
    cohort = site.splits[TRAIN]
    rows = np.unique(np.linspace(0, len(cohort) - 1, EXAMPLES).astype(np.int64))
    part = cohort.take(rows)
    with torch.inference_mode():
        batches = crop_batches(network, part, 1, EXAMPLES, job.config.device)
        answers = [logits_of(network, batch).double().cpu()[used] for batch, _, used in batches]
    spread = torch.cat(answers).std(dim=0, correction=0).numpy()
    annotated = (cohort.labels >= 0).any(axis=0)
    # NaN counts as flat: weights that are no numbers teach nothing.
    flat = annotated & ~(spread > FLAT)
    if len(rows) > 1 and flat.any():
        names = [name for name, odd in zip(cohort.task.classes, flat, strict=True) if odd]
        raise PolicyRefusal(
            "revealing-weights",
            f"the weights answer alike to {len(rows)} recordings ({', '.join(names)}): their "
            "update would tell how many show each class",
        )
