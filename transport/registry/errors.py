"""The few kinds of error that talking to a registry can end in.

`code` is the wire's name for the kind, `retryable` says whether the same call may succeed later, and
`retry_after` how long the registry asked to be left alone. No text ever holds a credential or the query of
an address, since signed addresses carry theirs there.
"""

import time


class RegistryError(Exception):
    """Base of all of them."""

    code = "internal"
    retryable = False

    def __init__(self, text: str, *, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after  # seconds, counted from received_at
        self.received_at = time.time()


class NotFoundError(RegistryError):
    """The registry has no such repository, tag, manifest or blob."""

    code = "not_found"


class InvalidArgumentError(RegistryError):
    """What was asked is malformed."""

    code = "invalid_argument"


class BadContentError(InvalidArgumentError):
    """What a registry sent breaks its specification or is not what was asked for."""


class PermissionDeniedError(RegistryError):
    """The registry wants other credentials, or none will do."""

    code = "permission_denied"


class FailedPreconditionError(RegistryError):
    """Settings, certificates or the registry's state forbid it; trying again changes nothing."""

    code = "failed_precondition"


class UnavailableError(RegistryError):
    """The registry is overloaded, broken or out of reach for now."""

    code = "unavailable"
    retryable = True


class NotReachableError(UnavailableError):
    """No connection came about; waiting long for that helps nobody who mistyped a name."""


class CutError(UnavailableError):
    """A transfer ended early; `received` is the offset in the blob of the first byte that is missing."""

    def __init__(self, text: str, received: int) -> None:
        super().__init__(text)
        self.received = received
