"""Who takes part and is connected, how far the last run is, and whether the coordinator works."""

import argparse
import datetime
import ssl
import sys

import httpx

from fl.util.errors import ConfigError
from server.deploy.certificates import (
    certificate_lines,
    certificate_warnings,
    require_valid_certificates,
)
from server.deploy.federation_store import FederationFolder, NodeState
from server.deploy.progress import progress_line
from server.deploy.superlink_client import list_nodes


def show_status(options: argparse.Namespace) -> int:
    """Show until when the certificates are valid, every site and the last run."""
    folder = FederationFolder(options.federation.absolute())
    folder.settings()
    for line in certificate_lines(folder.ca, folder.certificate):
        print(line)
    for line in certificate_warnings(folder.ca, folder.certificate):
        print(line, file=sys.stderr, flush=True)
    nodes = {node.node: node for node in list_nodes(folder)}
    for site, facts in sorted(folder.sites().items()):
        node = nodes.get(int(facts["node"]))
        state = "revoked" if facts["revoked"] else node.status if node else "unknown"
        print(f"{site:20} {state:12} last seen {last_seen(node)}")
    if not folder.sites():
        print("No site is approved yet.")
    jobs = sorted(folder.jobs.glob("*.json"), key=lambda path: path.stat().st_mtime)
    if jobs:
        print(progress_line(jobs[-1]))
    return 0


def last_seen(node: NodeState | None) -> str:
    """When a node last gave a sign of life, in words."""
    if node is None or not node.seen:
        return "never"
    if node.status == "online":
        return "now"
    seen = datetime.datetime.fromtimestamp(node.seen, datetime.UTC)
    return seen.isoformat(timespec="seconds")


def show_health(options: argparse.Namespace) -> int:
    """Show whether the reverse proxy answers, and the SuperLink behind it; exit code 0 or 1."""
    folder = FederationFolder(options.federation.absolute())
    url = f"https://{folder.settings().own_address}/health"
    try:
        require_valid_certificates(folder.ca, folder.certificate)
    except ConfigError as error:
        print(f"not at work: {error}")
        return 1
    try:
        trusted = ssl.create_default_context(cafile=str(folder.ca))
        # The address is this machine's own, which no proxy of the environment need know.
        answer = httpx.get(url, verify=trusted, timeout=5.0, trust_env=False)
        well = answer.status_code == 200
    except httpx.HTTPError:
        well = False
    print("at work" if well else "not at work")
    return 0 if well else 1
