"""The work by NVFlare's simulator and its FedAvg recipe.

The simulator keeps a process for each site, up to eight: with fewer processes than sites it starts
one for every visit, which takes longer than the visit. They share the cores that the others have.
A site's training is `site_work.py`, in the script `nvflare_client.py`. NVFlare does not say when
a round begins, so it is when the first site of the round begins its work.
"""

import csv
import sys
from pathlib import Path

import torch
from nvflare.app_opt.pt.recipes.fedavg import FedAvgRecipe
from nvflare.recipe.sim_env import SimEnv

from benchmarks.speed.engine_run import Moments
from benchmarks.speed.peer_adapters.site_work import read_case, write_end
from fl.training.frozen import network_to_train
from fl.training.state_dict import fresh_weights, set_weights

NAME, MOST_PROCESSES = "fedavg", 8


class FirstNetwork(torch.nn.Module):
    """The network with the weights that training begins with, as NVFlare's server builds it."""

    def __new__(cls, case: str) -> torch.nn.Module:  # type: ignore[misc]
        """The network itself, so that its entries keep their names."""
        config = read_case(case).config
        network = network_to_train(config.model, config.task, config.freeze)
        set_weights(network, fresh_weights(config))
        return network


def moments_of(folder: Path, rounds: int, ended: float) -> Moments:
    """When the rounds began, from the sites' visits, and when the last one ended."""
    began = [float("inf")] * rounds
    for path in folder.glob("visits-*.csv"):
        with path.open(newline="") as file:
            for _, number, _, moment in csv.reader(file):
                began[int(number) - 1] = min(began[int(number) - 1], float(moment))
    return Moments(began=began[0], rounds=[*began[1:], ended], done=ended)


def main(path: str) -> None:
    """Run all rounds."""
    job = read_case(path)
    folder, sites = Path(job.workspace), job.n_sites
    here = Path(__file__).parent
    model = {"class_path": f"{__spec__.name}.FirstNetwork", "args": {"case": path}}
    recipe = FedAvgRecipe(
        name=NAME,
        model=model,
        min_clients=sites,
        num_rounds=job.config.rounds,
        train_script=str(here / "nvflare_client.py"),
        train_args=path,
    )
    recipe.execute(
        SimEnv(
            num_clients=sites,
            num_threads=max(job.config.workers, min(sites, MOST_PROCESSES)),
            workspace_root=str(folder / "nvflare"),
        )
    )
    [last] = (folder / "nvflare" / NAME / "server").rglob("FL_global_model.pt")
    saved = torch.load(last, weights_only=False)
    weights = {name: torch.as_tensor(v).numpy() for name, v in saved.get("model", saved).items()}
    ended = last.stat().st_mtime
    write_end(path, job, moments_of(folder, job.config.rounds, ended), weights)


if __name__ == "__main__":
    main(sys.argv[1])
