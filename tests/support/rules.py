"""Decision rules that can be worked out by hand."""

from fl.evaluation.decisions.decision_rule import DecisionRule
from fl.evaluation.decisions.platt_scaling import IDENTITY


def even_rule(classes, threshold=0.5, alone="", otherwise="", **by_source):
    """Probabilities as they are, the same threshold for every class; others by source."""
    sources = {"pooled": threshold} | by_source
    return DecisionRule(
        thresholds={source: dict.fromkeys(classes, at) for source, at in sources.items()},
        calibration={source: dict.fromkeys(classes, IDENTITY) for source in sources},
        alone=alone,
        otherwise=otherwise,
    )
