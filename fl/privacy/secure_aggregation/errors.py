"""What goes wrong in a secure sum."""

from fl.util.errors import FederationError


class ProtocolViolationError(ValueError):
    """What a site or the server was sent does not fit the protocol; nothing is revealed."""


class TooFewSitesError(FederationError):
    """So many sites were lost that the sum cannot be unmasked; no vector is revealed."""
