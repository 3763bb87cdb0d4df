"""What stays at a site from round to round, in the site's own folder."""

from dataclasses import dataclass
from pathlib import Path

from fl.training.state_dict import Weights, load_weights, save_weights

# Kinds of what stays, each a folder below that of the strategy.
OPTIMIZER = "optimizer"  # the optimizer's moments
EXTRA = "extra"  # arrays that a strategy keeps beside the weights: SCAFFOLD's control variate
ENTRIES = "entries"  # entries of the model that are the site's own: FedBN's normalisation layers
STEPS = "steps"  # gradient steps so far of a site that trains alone

KEPT_ROUNDS = 2  # rounds kept of what only the next round needs: a resumed run goes back one


@dataclass(frozen=True)
class ClientState:
    """Named arrays of one kind, one file for each round in which the site took part."""

    folder: Path
    prune: bool = True  # keep the last rounds only
    synced: bool = True  # what is kept survives a power failure too

    def before(self, round_number: int) -> Weights:
        """The arrays of the last round before this one; nothing if there was none."""
        rounds = [n for n in self._rounds() if n < round_number]
        return load_weights(self._path(rounds[-1])) if rounds else {}

    def put(self, round_number: int, arrays: Weights) -> None:
        """Keep arrays of this round."""
        save_weights(self._path(round_number), arrays, synced=self.synced)
        if self.prune:
            for old in self._rounds()[:-KEPT_ROUNDS]:
                self._path(old).unlink()

    def _rounds(self) -> list[int]:
        return sorted(int(path.stem) for path in self.folder.glob("[0-9]*.safetensors"))

    def _path(self, round_number: int) -> Path:
        return self.folder / f"{round_number:06d}.safetensors"
