"""Clients that fail, or send something else than they should."""

import numpy as np

from clients.app import app as client_app
from fl.messages.flower_arrays import to_array_record
from fl.messages.flower_codec import VALIDATION_PREFIX, read_round, read_training_reply


def spoiled(change, site="site-2", rounds=(1,)):
    """A client that changes one site's update before it is sent."""

    def client(message, context):
        reply = client_app(message, context)
        if message.metadata.message_type == "train" and read_round(message) in rounds:
            trained = read_training_reply(reply)
            if trained.site == site:
                return change(reply, trained) or reply
        return reply

    return client


def with_weights(**changed):
    """A change of entries of the weights."""

    def change(reply, trained):
        reply.content["arrays"] = to_array_record({**trained.weights, **changed})

    return change


def raises(reply, trained):
    """The site fails."""
    raise OSError("disk on fire")


def without_validation(reply, trained=None):
    """The update comes without validation of the incoming weights."""
    for name in [name for name in reply.content if name.startswith(VALIDATION_PREFIX)]:
        del reply.content[name]


def validation_of_other_classes(reply, trained):
    """The update comes with validation of another model."""
    name = f"{VALIDATION_PREFIX}arrays"
    if name in reply.content:
        reply.content[name] = to_array_record({"positive": np.ones((1, 2, 2))})


class RecordedRequests:
    """A client that notes every request: kind, round and site."""

    def __init__(self, client=client_app):
        self.client, self.requests = client, []

    def __call__(self, message, context):
        kind = message.metadata.message_type
        if kind != "query":
            site = f"site-{int(context.node_config['partition-id']) + 1}"
            self.requests.append((kind, read_round(message), site))
        return self.client(message, context)

    def of(self, kind):
        """Round and site of the requests of one kind."""
        return [request[1:] for request in self.requests if request[0] == kind]
