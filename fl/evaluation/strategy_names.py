"""Strategies as the literature writes them, for sentences, tables and figures."""

STRATEGY_NAMES = {
    "local": "local training",
    "pooled": "pooled training",
    "fedavg": "FedAvg",
    "fedprox": "FedProx",
    "fedavgm": "FedAvgM",
    "fedadagrad": "FedAdagrad",
    "fedadam": "FedAdam",
    "fedyogi": "FedYogi",
    "fedmedian": "FedMedian",
    "fedtrimmedavg": "FedTrimmedAvg",
    "fedbn": "FedBN",
    "scaffold": "SCAFFOLD",
    "finetune": "FedAvg+FT",  # FedAvg, then fine-tuning at each site
    "personal": "FedAvg+personal",  # FedAvg, then a mixture of models at each site
    "pooled-personal": "pooled+personal",  # pooled training, then the same
    "map-head": "FedAvg+head",  # FedAvg, then a head of each site's own
    "krum": "Krum",
}


def strategy_name(key: str) -> str:
    """A strategy's name in the literature; its key where it has none here."""
    return STRATEGY_NAMES.get(key, key)


# What must be known to read a strategy's figures.
STRATEGY_NOTES = {
    "fedbn": "The scale and shift of every normalisation layer (GroupNorm, LayerNorm) stay at each "
    "hospital and are never sent; figures at the hospitals are with the hospital's own. The "
    "saved model, and with it every figure on central and unseen records, has the first values of "
    "these layers (scale one, shift zero), which nobody trained, between layers that were trained "
    "for others.",
    "finetune": "At a hospital, after further training there, if that made its validation better, "
    "and then at the hospital's own thresholds. The saved model, and with it every figure on "
    "central and unseen records, is the one before that, which is FedAvg's.",
    "personal": "At a hospital, the weighted mean of the logits of three models (FedAvg's, the "
    "same after further training there, and one trained there alone), if that answered validation "
    "patients on whom the weights were not found better than FedAvg's did, and then at the "
    "hospital's own thresholds. The saved model, and with it every figure on central and unseen "
    "records, is FedAvg's.",
    "pooled-personal": "Pooled training, and then at each hospital what FedAvg+personal does after "
    "its last round. The saved model, and with it every figure on central and unseen records, is "
    "that of pooled training.",
    "map-head": "At a hospital, with a last layer fitted to its own training and validation "
    "patients, close to the global one, where that predicted patients it had not seen better; then "
    "at the hospital's own thresholds. The saved model, and with it every figure on central and "
    "unseen records, is the one before that, which is FedAvg's.",
}


def strategy_note(key: str) -> str:
    """What must be known to read a strategy's figures, as `FedBN: ...`; empty for most."""
    return f"{strategy_name(key)}: {STRATEGY_NOTES[key]}" if key in STRATEGY_NOTES else ""
