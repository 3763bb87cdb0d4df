"""Lines of rounds.csv."""

from fl.runs.history_tables import RoundRow


def round_row(**changed):
    """A round of FedAvg; its loss on validation records is not known."""
    given = {
        "strategy": "fedavg",
        "round": 1,
        "seconds": 2.0,
        "participants": 3,
        "failures": 0,
        "train_loss": 0.5,
        "val_loss": None,
        "val_macro_f1": 0.2,
        "val_macro_auroc": 0.75,
    }
    return RoundRow(**given | changed)
