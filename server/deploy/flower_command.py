"""Flower's own command line, run for this federation."""

import argparse
import shlex
import subprocess

import fl  # noqa: F401  (first: it turns telemetry off before flwr is imported)
from fl.util.child_process import flower_environment
from fl.util.errors import FederationError
from server.deploy.federation_store import FederationFolder

FRAME = str.maketrans("╭─╮│╰╯", "      ")  # which Flower draws around what it says


def run_flower_command(
    options: argparse.Namespace, folder: FederationFolder, *arguments: str
) -> str:
    """Run Flower's command, or show it; `FederationError` with its last words if it fails."""
    command = ["flwr", *arguments]
    if options.print:
        print(f"FLWR_HOME={shlex.quote(str(folder.flower_home))} {shlex.join(command)}")
        return ""
    done = subprocess.run(
        command, env=flower_environment(folder.flower_home), capture_output=True, text=True
    )
    output = " ".join((done.stdout + done.stderr).translate(FRAME).split())
    if done.returncode != 0:
        raise FederationError(f"`{shlex.join(command)}` failed: {output[-400:]}")
    return output[-400:]
