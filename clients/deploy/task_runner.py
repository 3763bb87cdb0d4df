"""The process in which a hospital's visits run: one that stays, with torch already loaded.

A SuperNode with `--isolation process` leaves it to another process to take its tasks. Flower's
own taker starts a new Python for each, and runs in it the app that came with the run. This one
stays, and runs the ClientApp that is installed here: a hospital does not execute what it is sent.
"""

import logging
import time

import httpx
from flwr.app import Message
from flwr.clientapp import ClientApp
from flwr.common.constant import SubStatus
from flwr.proto.runtime_pb2 import AcquireTaskRequest, SendTaskHeartbeatRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.heartbeat import HeartbeatSender
from flwr.supercore.inflatable.inflatable_utils import ObjectPullError
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

TAKE = "/flwr.proto.Runtime/AcquireTask"


class TaskRunner:
    """Takes tasks from the SuperNode at `address`, which knows it by `secret`."""

    def __init__(self, app: ClientApp, address: str, secret: bytes) -> None:
        self._app, self._address = app, address
        self._log = logging.getLogger("heartfed")
        self._taker = RuntimeHttpClient.from_server_address(
            server_address=address,
            insecure=True,  # on this machine's loopback alone
            root_certificates=None,
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="SuperExec"),
                SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods={TAKE}),
            ],
        )

    def close(self) -> None:
        """Let go of the connection."""
        self._taker.close()

    def take(self) -> None:
        """Do one task if there is one."""
        request = AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP])
        try:
            task = self._taker.AcquireTask(request)
        except httpx.TransportError:
            return  # the SuperNode is about to start, or has ended: its keeper will see
        if not task.token:
            return
        try:
            self._visit(task.token)
        except (httpx.HTTPError, ObjectPullError) as error:
            self._log.error("a visit was broken off: %s", error)

    def _visit(self, token: str) -> None:
        client = RuntimeHttpClient.from_server_address(
            server_address=self._address,
            insecure=True,
            root_certificates=None,
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="flwr-clientapp"),
                RuntimeTokenHttpInterceptor(token),
            ],
        )

        def alive() -> bool:
            # Flower's own version interrupts the process when its task is no longer wanted.
            try:
                client.SendTaskHeartbeat(SendTaskHeartbeatRequest())
            except httpx.HTTPError:
                return False
            return True

        heartbeat = HeartbeatSender(alive)
        heartbeat.start()
        try:
            message, context, _, _ = pull_task_input(client)
            began = time.monotonic()
            reply: Message = self._app(message, context)
            kind, seconds = message.metadata.message_type, time.monotonic() - began
            self._log.info("visit: %s, %.3f s", kind, seconds)
            push_message(client, reply, context)
            push_task_output(client, context, SubStatus.COMPLETED, "")
        finally:
            heartbeat.stop()
            client.close()
