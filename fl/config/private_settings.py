"""What `--dp patient` asks of the other settings, and what it makes of their defaults.

`config` is a `RunConfig`, whose module imports this one.
"""

from typing import Any

from fl.config.strategy_traits import strategy_traits

NONE, PATIENT = "none", "patient"  # values of --dp
HEAD = "head"  # the value of --dp-scope that trains the dense layers alone
FEATURES = "features"  # of --freeze
# Rates of plain gradient steps over gradients that are clipped to a length of 1 and averaged, where
# each site adds all the noise, and where sites share it. Chosen, like the rounds, on validation of
# seed 40 of the main job, with --dp-scope head and epsilon 8.
PRIVATE_LR, SHARED_NOISE_LR = 2.0, 4.0
SHARED_NOISE_ROUNDS = 80  # of one step each
# Strategies whose sites send or keep more than noised steps give.
UNSUITED = ("fedbn", "scaffold")


def private_defaults(config: Any) -> dict[str, Any]:
    """What differs from the usual defaults; `ValueError` if a setting cannot be private."""
    _require_head(config)
    _require_suited(config)
    found: dict[str, Any] = {
        "imbalance": "none",
        "averaging": "plain",
        "optimizer": "sgd",
        "lr": config.lr or (SHARED_NOISE_LR if config.secure_aggregation else PRIVATE_LR),
    }
    # Noise regularises enough, and what hides a part of the signal costs what little is left of it.
    if "weight_decay" not in config.model_fields_set:
        found["weight_decay"] = 0.0
    for name in ("dropout", "signal_dropout"):
        if getattr(config, name) < 0:
            found[name] = 0.0
    if config.augment == "auto":
        found["augment"] = "none"
    if not config.local_epochs:
        found["local_epochs"] = 1
    if not config.rounds and config.secure_aggregation:
        found["rounds"] = SHARED_NOISE_ROUNDS
    return found | ({"freeze": FEATURES} if config.dp_scope == HEAD else {})


def _require_head(config: Any) -> None:
    if config.dp_scope == HEAD and not config.init_from:
        raise ValueError(
            "--dp-scope is 'head', but no --init-from names the weights of the other layers. They "
            "are published as they are: name a model that was trained without these patients."
        )


def _require_suited(config: Any) -> None:
    """`ValueError` for a setting that would let something leave that no noise covers."""
    for name in config.strategies:
        if name in UNSUITED or strategy_traits(name).plain_sgd:
            raise ValueError(
                f"--dp patient does not go with --strategy {name}, whose sites send or keep more "
                "than noised gradient steps give: use fedavg, fedprox, fedavgm or an adaptive one."
            )
    for flag, found, accepted in (
        ("--imbalance", config.imbalance, ("auto", "none")),
        ("--weighting", config.weighting, ("patients",)),
        ("--simulated-rare", config.simulated_rare, (0,)),
        ("--patience", config.patience, (0,)),
        ("--average-rounds", config.average_rounds, (0,)),
    ):
        if found not in accepted:
            raise ValueError(
                f"{flag} is {found!r}, which with --dp patient would depend on patients in a way "
                f"that the noise does not cover. Accepted: {' or '.join(map(str, accepted))}."
            )
    if "optimizer" in config.model_fields_set and config.optimizer != "sgd":
        raise ValueError(
            f"--optimizer is {config.optimizer!r}: with --dp patient sites take plain gradient "
            "steps (sgd), because noise that AdamW rescales would drown the small sites' updates."
        )
    if "averaging" in config.model_fields_set and config.averaging != "plain":
        raise ValueError(
            f"--averaging is {config.averaging!r}: by evidence it needs each site's counts of "
            "classes. With --dp patient it is plain."
        )
    if config.proximal != "decoupled":
        raise ValueError(
            f"--proximal is {config.proximal!r}: with --dp patient the term is a step of its own "
            "(decoupled), because gradients of the loss are clipped."
        )
    if "mixup" in config.augment.split(","):
        raise ValueError(
            "--augment mixup mixes recordings of different patients; leave it out with --dp patient"
        )
