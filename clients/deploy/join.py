"""Join a federation: check what must be right, show what leaves the hospital, and serve."""

import argparse
import logging
import shlex
import time
from pathlib import Path

from rich.console import Console

from clients.deploy import supernode_internals, task_runner_internals
from clients.deploy.egress_notice import egress_notice
from clients.deploy.flower_supernode import FlowerSuperNode
from clients.deploy.join_checks import check_coordinator, check_data, trust_authority
from clients.deploy.joined_site import JoinedSite
from clients.deploy.keys import ensure_key, ensure_secret, show_public_key
from clients.deploy.resident_supernode import ResidentSuperNode
from clients.deploy.site_folder import ensure_policy, read_invitation, site_folder
from clients.deploy.site_policy.site_log import serving_event, site_log
from clients.deploy.site_settings import SiteSettings
from fl.util.child_process import free_port, log_to_file
from fl.util.errors import ConfigError
from fl.util.network.proxies import forget_proxies, proxy_variable
from fl.util.tested_versions import is_tested

# With these both `supernode_internals` and `task_runner_internals` were tested.
FLOWER_VERSIONS = [
    version
    for version in supernode_internals.FLOWER_VERSIONS
    if version in task_runner_internals.FLOWER_VERSIONS
]
RESTART = 2.0  # seconds before a SuperNode that ended is started again


def join(options: argparse.Namespace) -> int:
    """Check, show what leaves, and serve until ended."""
    site = joined_site(options)
    folder = site.folder
    if not proxy_variable(f"https://{site.invitation.address}"):
        forget_proxies()  # one that Flower's client does not know would end it, though not used
    trust_authority(folder, site.invitation)
    if options.print:
        command = supernode_class().command(site, free_port())
        print(f"FLWR_HOME={shlex.quote(str(folder.flower_home))} {shlex.join(command)}")
        return 0
    if ensure_policy(folder, site.settings.task):
        site.console.print(f"{folder.policy}: what the coordinator may ask; yours to change")
    if ensure_key(folder):
        show_public_key(folder)
    ensure_secret(folder)
    folder.make_private()
    check_data(site.settings, site.console, options.workers)
    site.console.print(egress_notice(site.invitation, site.settings))
    log_to_file(folder.log)
    check_coordinator(site.invitation, folder, site.console)
    return serve(site)


def joined_site(options: argparse.Namespace) -> JoinedSite:
    """The site as its flags and its invitation describe it."""
    folder, invitation = site_folder(options), read_invitation(options)
    settings = SiteSettings(
        site=options.site,
        data_dir=str(Path(options.data_dir).absolute()),
        folder=str(folder.path),
        task=invitation.task,
        sources=options.sources,
        cache_dir=options.cache_dir or str(folder.path / "cache"),
        min_count=options.min_count,
        device=options.device,
        ignore_checksums=options.ignore_checksums,
    )
    console = Console(highlight=False, markup=False, soft_wrap=True)
    return JoinedSite(invitation=invitation, folder=folder, settings=settings, console=console)


def supernode_class() -> type[ResidentSuperNode] | type[FlowerSuperNode]:
    """The quick way with the tested versions of Flower, and the documented way with others."""
    otherwise = "Flower's own SuperNode starts a process for each request, seconds slower"
    return ResidentSuperNode if is_tested("flwr", FLOWER_VERSIONS, otherwise) else FlowerSuperNode


def serve(site: JoinedSite) -> int:
    """Keep a SuperNode running until this program is ended.

    `ConfigError` if it is of no use to start it again; any other error is logged, and it is.
    """
    site.console.print(f"{site.name}: serving; log in {site.folder.log}")
    audit = site_log(site.folder.path)
    audit.try_append(serving_event(site))
    supernode, reported = supernode_class()(site), None
    try:
        while True:
            connected, reason = run_once(supernode, site)
            if connected or reason != reported:
                why = f": {reason}" if reason else ""
                site.console.print(f"{site.name}: not connected; trying again{why}")
                reported = reason
            time.sleep(RESTART)
    finally:
        site.folder.state.unlink(missing_ok=True)
        audit.try_append({"event": "ended", "site": site.name})


def run_once(supernode: ResidentSuperNode | FlowerSuperNode, site: JoinedSite) -> tuple[bool, str]:
    """One SuperNode from its start to its end; whether it was connected, and why not if known."""
    log = logging.getLogger("heartfed")
    try:
        connected = supernode.run()
    except ConfigError:
        raise
    except Exception as error:
        log.error("the SuperNode could not be served", exc_info=error)
        return False, ""
    if not connected:
        try:
            check_coordinator(site.invitation, site.folder, Console(quiet=True))
        except Exception as error:
            log.error("the coordinator: %s", error)
            return False, str(error) if isinstance(error, ConfigError) else ""
    return connected, ""
