"""S against N by the features that do not depend on what is usual in the patient."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fl.models.blocks import dense_layers

EARLY_WEIGHT = 0.7  # of the early features' probability of S against N; 0.3 is the whole network's
HIDDEN, DROPOUT = 32, 0.2
# Probability of atrial fibrillation by the feature `irregular 60`: a logistic regression on the
# rhythm annotations of MIT-BIH's DS1, every record counted alike (python -m benchmarks.studies.beat
# --choose prints it).
FIBRILLATION_SLOPE, FIBRILLATION_AT = 4.8, 1.63


class EarlyDecision(nn.Module):
    """Lets the early features share in dividing what the head gives the first two classes.

    In a patient whose usual beat is S, the whole network takes anything like that usual beat for N.
    The early features (EARLY in fl/ecg/beat_features.py) do not depend on the usual beat, so they
    weigh more; alone they were worse (docs/results-earlier.md). N and S are the first two classes,
    and every beat source annotates both. In training each example uses one of the two scores at
    random, so that neither relies on the other.

    In fibrillation there are no premature atrial beats to annotate, but many early ones: the
    probability of S is multiplied by that of no fibrillation.
    """

    rate_factor: ClassVar = 2.0  # timing is not learnt at the learning rate of the signal

    def __init__(self, columns: tuple[int, ...], irregular: int | None = None) -> None:
        """`columns` of the early features; `irregular`, the column of the feature so called."""
        super().__init__()
        self.columns, self.irregular = columns, irregular
        self.mixture = _Mixture(0.5)
        if columns:
            self.mlp = dense_layers(len(columns), HIDDEN, DROPOUT)
            self.score = nn.Linear(HIDDEN, 1)

    def forward(self, logits: Tensor, features: Tensor) -> Tensor:
        """(batch, class), (batch, feature) -> (batch, class); without columns unchanged."""
        if not self.columns:
            return logits
        # Indexing by a list would send it to a GPU at each step, and the host would wait.
        early = torch.stack([features[:, column] for column in self.columns], dim=1)
        whole = logits[:, 1:2] - logits[:, :1]
        odds = self.mixture(torch.cat([self.score(self.mlp(early)), whole], dim=1))
        if self.irregular is not None:
            irregular = features[:, self.irregular : self.irregular + 1]
            odds = odds - F.softplus(FIBRILLATION_SLOPE * (irregular - FIBRILLATION_AT))
        total = logits[:, :2].logsumexp(dim=1, keepdim=True)
        first_two = torch.cat([total - F.softplus(odds), total - F.softplus(-odds)], dim=1)
        return torch.cat([first_two, logits[:, 2:]], dim=1)


class _Mixture(nn.Dropout):
    """Combines the early features' logit and the whole network's logit into one."""

    def forward(self, early_and_whole: Tensor) -> Tensor:
        """Logits (batch, 2), the early features' first -> (batch, 1)."""
        early, whole = early_and_whole[:, :1], early_and_whole[:, 1:]
        if self.training and self.p > 0:
            return torch.where(torch.rand_like(early) < self.p, early, whole)
        mixed: Tensor = EARLY_WEIGHT * early.sigmoid() + (1 - EARLY_WEIGHT) * whole.sigmoid()
        return mixed.logit(1e-6)
