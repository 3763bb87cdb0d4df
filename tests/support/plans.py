"""A short training plan for tests."""

from fl.training.loop import TrainingPlan

PLAN = TrainingPlan(
    seed=0, site="site-1", round=1, rounds=2, epochs=1, batch_size=8, lr=2e-3, weight_decay=0.01
)
