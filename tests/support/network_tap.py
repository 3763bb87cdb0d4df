"""A tap on the line between one hospital and the coordinator: it passes all on, and records it.

Run as a program it listens with the coordinator's own certificate, which the test has.
"""

import base64
import json
import ssl
import sys
from pathlib import Path

import httpx
import uvicorn
from flwr.app import Message
from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.proto.message_pb2 import PushObjectRequest
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fl.util.child_process import free_port
from support.federations import ROOT

SKIP = {"host", "content-length", "transfer-encoding", "connection"}
SKIP |= {"accept-encoding", "content-encoding"}  # httpx decodes what it passes on


def tap(federation, site):
    """Start a tap, and send this site's invitation there."""
    port = free_port()
    folder = federation.folder
    path = folder / "invitations" / f"{site}.toml"
    text = path.read_text()
    tapped = text.replace(f"127.0.0.1:{federation.port}", f"127.0.0.1:{port}")
    assert tapped != text
    path.write_text(tapped)
    federation.env["PYTHONPATH"] = f"{ROOT}:{ROOT / 'tests'}"
    taking = federation.base / "taken.jsonl"
    federation.start(
        "tap", "support.network_tap", folder, federation.port, port, taking, awaited="tapping"
    )


def taken(federation):
    """What the site sent: the kinds of its messages, the messages, and every body as it was.

    An object that the coordinator has already, since another site sent the same (such as counts
    that are all withheld), does not cross the wire again: its message is left out.
    """
    lines = (federation.base / "taken.jsonl").read_text().splitlines()
    sent = [(path, base64.b64decode(body)) for path, body in map(json.loads, lines)]
    objects = {}
    for path, body in sent:
        if path.endswith("/push-object"):
            pushed = PushObjectRequest.FromString(body)
            objects[pushed.object_id] = pushed.object_content
    kinds, messages = [], []
    for path, body in sent:
        if path.endswith("/push-messages"):
            request = PushMessagesRequest.FromString(body)
            kinds += [message.metadata.message_type for message in request.messages_list]
            for tree in request.message_object_trees:
                ids = {node.object_id for node in iterate_object_tree(tree)}
                if ids <= objects.keys():
                    parts = {i: objects[i] for i in ids}
                    messages.append(inflate_object_from_contents(tree.object_id, parts))
    assert all(isinstance(message, Message) for message in messages)
    return kinds, messages, [body for _, body in sent]


def main(folder, proxy, port, taking):
    upstream = httpx.AsyncClient(
        base_url=f"https://127.0.0.1:{proxy}",
        verify=ssl.create_default_context(cafile=f"{folder}/ca.pem"),
        timeout=60,
    )

    async def passed(request: Request) -> Response:
        body = await request.body()
        with Path(taking).open("a") as file:
            file.write(json.dumps([request.url.path, base64.b64encode(body).decode()]) + "\n")
        headers = {k: v for k, v in request.headers.items() if k not in SKIP}
        try:
            answer = await upstream.request(
                request.method, request.url.path, content=body, headers=headers
            )
        except httpx.HTTPError:
            return Response("", 503)
        kept = {k: v for k, v in answer.headers.items() if k not in SKIP}
        return Response(answer.content, answer.status_code, kept)

    print("tapping", flush=True)
    uvicorn.run(
        Starlette(routes=[Route("/{path:path}", passed, methods=["GET", "POST"])]),
        port=int(port),
        ssl_certfile=f"{folder}/server.pem",
        ssl_keyfile=f"{folder}/server.key",
        log_level="warning",
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
