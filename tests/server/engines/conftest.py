"""A Ray cluster of two machines, for the tests of a module."""

import contextlib
import shutil
import socket
import tempfile
from pathlib import Path

import pytest
from support.ray_machines import Machine


@pytest.fixture(scope="module")
def folder():
    # A socket's path may have 107 characters, which leaves no room for the tests' own folder.
    made = Path(tempfile.mkdtemp(prefix="hf-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def address():
    with socket.create_server(("127.0.0.2", 0)) as free:
        return f"127.0.0.2:{free.getsockname()[1]}"


@pytest.fixture(scope="module")
def machines(folder, address):
    """The machine that the tests run on, with one core, and another with two."""
    port = address.rpartition(":")[2]
    home = (
        "--head",
        "--include-dashboard",
        "false",
        "--node-ip-address",
        "127.0.0.2",
        "--port",
        port,
    )
    with contextlib.ExitStack() as stack:
        started = []
        for name, flags, cores in (
            ("home", home, 1),
            ("other", ("--address", address, "--node-ip-address", "127.0.0.3"), 2),
        ):
            started.append(Machine(folder, name, *flags, cores=cores))
            stack.callback(started[-1].end)
        yield started
