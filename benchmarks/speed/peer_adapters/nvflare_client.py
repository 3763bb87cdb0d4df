"""What NVFlare runs at a site: the work of a site, for each model that it receives."""

import sys

import nvflare.client as flare

from benchmarks.speed.peer_adapters.site_work import SiteWork, read_case


def main(path: str) -> None:
    """Train whatever the server sends until it sends no more."""
    work = SiteWork(read_case(path))
    flare.init()
    name = flare.get_site_name()
    while flare.is_running():
        received = flare.receive()
        if received is None:
            break
        work.network.load_state_dict(received.params)
        work.visit(name, received.current_round + 1)
        flare.send(
            flare.FLModel(
                params=work.network.state_dict(),
                meta={"NUM_STEPS_CURRENT_ROUND": work.records(name)},
            )
        )


if __name__ == "__main__":
    main(sys.argv[1])
