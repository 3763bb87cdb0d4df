"""What the proxy refuses is counted in the audit log, in few lines whatever the number."""

import asyncio
import json

import httpx
from starlette.applications import Starlette

from server.deploy import fleet_proxy
from server.deploy.audit import refused_requests
from server.deploy.audit.refused_requests import RefusedRequests
from server.deploy.federation_store import FederationSettings, make_federation
from server.deploy.fleet_proxy import LARGEST, SMALL, FleetProxy

PERMITTED = {"unsigned": 0, "stranger": SMALL, "site": LARGEST}


def federation(tmp_path):
    settings = FederationSettings(
        name="f", task="rhythm", hosts=("h",), listen="0.0.0.0", port=1, superlink_port=2
    )
    return make_federation(tmp_path / "f", settings)


def lines_of(folder):
    (file,) = (folder.path / "audit").glob("*.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_stranger_cannot_fill_the_disk_with_lines(tmp_path, monkeypatch):
    folder, refusals = federation(tmp_path), RefusedRequests()
    monkeypatch.setattr(refused_requests, "HOUR", 0.05)

    async def attack():
        async with refusals.noted_hourly(folder):
            for _ in range(500):
                refusals.count("no valid signature")
            async with asyncio.timeout(10):
                while not (folder.path / "audit").exists():
                    await asyncio.sleep(0.02)
            refusals.count("body too large")

    asyncio.run(attack())
    counts = [line["counts"] for line in lines_of(folder) if line["event"] == "requests-refused"]
    assert counts == [{"no valid signature": 500}, {"body too large": 1}]


def test_requests_are_counted_by_why_they_are_refused(tmp_path):
    folder, refusals = federation(tmp_path), RefusedRequests()

    async def asked():
        superlink = httpx.MockTransport(lambda request: httpx.Response(200))
        upstream = httpx.AsyncClient(base_url="https://127.0.0.1:1", transport=superlink)
        proxy = FleetProxy(
            upstream, permitted=lambda headers: PERMITTED[headers["who"]], refusals=refusals
        )
        transport = httpx.ASGITransport(Starlette(routes=fleet_proxy.routes(proxy)))
        async with httpx.AsyncClient(transport=transport, base_url="https://proxy") as client:
            for who, size in (
                ("unsigned", 1),
                ("stranger", 1),
                ("stranger", SMALL + 1),
                ("site", 1),
            ):
                await client.post(fleet_proxy.PULL, headers={"who": who}, content=b"x" * size)

    asyncio.run(asked())
    refusals.note(folder)
    refusals.note(folder)
    (line,) = lines_of(folder)
    assert line["counts"] == {"body too large": 1, "key not approved": 2, "no valid signature": 1}
