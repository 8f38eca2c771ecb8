"""The few kinds of error that storage knows.

They map one to one to the error codes of the wire (docs/protocol.md, "Errors"), so that an actor can
answer with them as they are. Wrap with context by raising a new one `from` the old.
"""


class StorageError(Exception):
    """Base of all of them; `code` is the wire's name for the kind."""

    code = "internal"


class NotFoundError(StorageError):
    """The named object does not exist in this namespace."""

    code = "not_found"


class AlreadyExistsError(StorageError):
    """An object of that name, key, ref or digest exists already."""

    code = "already_exists"


class InvalidArgumentError(StorageError):
    """What was asked or sent is malformed, oversized or breaks a specification."""

    code = "invalid_argument"


class FailedPreconditionError(StorageError):
    """The object is in a state (in use, has children) that forbids the operation."""

    code = "failed_precondition"


class UnavailableError(StorageError):
    """Held by somebody else or out of a resource; the same call may succeed later."""

    code = "unavailable"


class FullError(UnavailableError):
    """No room on a file system: the same call succeeds when somebody has made some, and not by itself."""


class BusyError(UnavailableError):
    """Somebody else is writing it: wait for them, or try again later."""


class OutOfRangeError(StorageError):
    """An offset lies outside what has been written."""

    code = "invalid_argument"
