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
    "krum": "Krum",
}


def strategy_name(key: str) -> str:
    """A strategy's name in the literature; its key where it has none here."""
    return STRATEGY_NAMES.get(key, key)
