"""A port at which samples cannot be received is named, with what to do."""

import socket

import pytest

from fl.monitor.sources import Listener
from fl.util.errors import ConfigError


def test_a_busy_port_is_named():
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        text = rf"--listen 127.0.0.1:{port}: cannot listen there \(another program has"
        with pytest.raises(ConfigError, match=text):
            Listener("127.0.0.1", port)
