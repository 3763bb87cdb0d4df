"""Answers the requests that a SuperNode received, in a process that stays and has torch loaded.

With `--isolation process` a SuperNode leaves it to another process to take its tasks. Flower's own
`flower-superexec` starts a new Python for each, and runs in it the app that came with the run. This
one stays, and runs the ClientApp that is installed here: a hospital does not execute what it is
sent.

Names that Flower does not document are imported where they are used, so that this file can be
loaded with any version.
"""

import logging
import time
from typing import TYPE_CHECKING, Any

import httpx

from fl.util.one_line import one_line

if TYPE_CHECKING:
    from flwr.app import Message
    from flwr.clientapp import ClientApp

FLOWER_VERSIONS = ("1.41.0",)  # tested
ACQUIRE = "/flwr.proto.Runtime/AcquireTask"


class TaskRunner:
    """Takes tasks from the SuperNode at `address`, which knows this process by `secret`."""

    def __init__(self, app: "ClientApp", address: str, secret: bytes) -> None:
        from flwr.supercore.interceptors import SuperExecAuthHttpInterceptor

        self._app, self._address = app, address
        self._log = logging.getLogger("heartfed")
        signed = SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods={ACQUIRE})
        self._client = self._connect("SuperExec", signed)

    def _connect(self, component: str, interceptor: Any) -> Any:
        """A client of the SuperNode's Runtime API, on this machine's loopback alone."""
        from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
        from flwr.supercore.runtime import RuntimeHttpClient

        return RuntimeHttpClient.from_server_address(
            server_address=self._address,
            insecure=True,
            root_certificates=None,
            interceptors=[RuntimeVersionHttpInterceptor(component_name=component), interceptor],
        )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def take(self) -> None:
        """Do one task if there is one; whatever goes wrong is logged, and costs that task alone."""
        from flwr.proto.runtime_pb2 import AcquireTaskRequest
        from flwr.supercore.constant import TaskType
        from flwr.supercore.inflatable.inflatable_utils import ObjectPullError

        request = AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP])
        try:
            task = self._client.AcquireTask(request)
        except httpx.TransportError:
            return  # the SuperNode is about to start, or has ended; whoever started it will see
        except Exception as error:
            self._log.error("no request can be taken", exc_info=error)
            return
        if not task.token:
            return
        try:
            self._answer(task.token)
        except (httpx.HTTPError, ObjectPullError) as error:
            self._log.error("a request was broken off: %s", one_line(str(error)))
        except Exception as error:
            self._log.error("a request was broken off", exc_info=error)

    def _answer(self, token: str) -> None:
        """Answer the request that belongs to a task, while the SuperNode hears that we live."""
        from flwr.supercore.heartbeat import HeartbeatSender
        from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor

        client = self._connect("flwr-clientapp", RuntimeTokenHttpInterceptor(token))
        heartbeat = HeartbeatSender(lambda: _send_heartbeat(client))
        heartbeat.start()
        try:
            self._run_app(client)
        finally:
            heartbeat.stop()
            client.close()

    def _run_app(self, client: Any) -> None:
        from flwr.common.constant import SubStatus
        from flwr.supernode.runtime.run_clientapp import (
            pull_task_input,
            push_message,
            push_task_output,
        )

        context = None
        try:
            message, context, _, _ = pull_task_input(client)
            began = time.monotonic()
            reply: Message = self._app(message, context)
            kind, seconds = one_line(message.metadata.message_type), time.monotonic() - began
            self._log.info("request: %s, %.3f s", kind, seconds)
            push_message(client, reply, context)
        except Exception:
            # The SuperNode forgets the task; it would wait for its answer until the run has ended.
            push_task_output(client, context, SubStatus.FAILED, "")
            raise
        push_task_output(client, context, SubStatus.COMPLETED, "")


def _send_heartbeat(client: Any) -> bool:
    """Whether the SuperNode heard it. Flower's own version interrupts a process not wanted."""
    from flwr.proto.runtime_pb2 import SendTaskHeartbeatRequest

    try:
        client.SendTaskHeartbeat(SendTaskHeartbeatRequest())
    except Exception:
        return False
    return True
