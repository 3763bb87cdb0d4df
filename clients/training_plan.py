"""The plan of a site's training: which settings of the run decide how it trains."""

from fl.config.run_config import POOLED, RunConfig
from fl.config.strategy_traits import strategy_traits
from fl.training.loop import TrainingPlan


def training_plan(config: RunConfig, site: str, round_number: int) -> TrainingPlan:
    """How a site trains in one round."""
    plain_sgd = strategy_traits(config.strategy).plain_sgd
    return TrainingPlan(
        seed=config.seed,
        site=site,
        round=round_number,
        rounds=config.rounds,
        epochs=config.local_epochs,
        batch_size=config.batch_size,
        lr=config.lr,
        weight_decay=config.weight_decay,
        per_recording=config.per_recording,
        augment=config.augmentations,
        imbalance=config.imbalance,
        # Pooled training has as many of them as all sites together.
        simulated=config.simulated_rare * (config.clients if site == POOLED else 1),
        dropout=config.dropout,
        signal_dropout=config.signal_dropout,
        by_patient=config.loss_weights == "patients",
        sgd=config.optimizer == "sgd" or plain_sgd,
        momentum=0.0 if plain_sgd else config.momentum,
        constant=config.schedule == "constant",
        restart=config.schedule == "round",
        device=config.device,
    )
