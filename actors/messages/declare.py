"""How an operation is declared, and the types that its fields have in common."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import msgspec

Labels = dict[str, str]
Json = dict[str, Any]
SnapshotterName = Literal["", "overlayfs", "native"]  # empty: the daemon's default
Wanted = Literal["running", "stopped", "removed"]
TaskStatus = Literal["created", "running", "paused", "stopped", "unknown"]
Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # what a database and a file's offset can hold


@dataclass(frozen=True, slots=True)
class Operation:
    """What is known of one operation.

    Attributes:
        repeatable: sending it again after an answer of unknown outcome does no harm, unless it is `strict`.
        streams: partial answers come before the final one.
    """

    name: str
    owner: str
    body: type
    repeatable: bool
    streams: bool


ANY = "any"
OPERATIONS: dict[str, Operation] = {}
_BY_BODY: dict[type, Operation] = {}
_Body = TypeVar("_Body", bound=type)


def operation(
    name: str,
    owner: str,
    *,
    repeatable: bool = False,
    streams: bool = False,
) -> Callable[[_Body], _Body]:
    """Declare the class below as the body of an operation."""

    def declare(body: _Body) -> _Body:
        OPERATIONS[name] = _BY_BODY[body] = Operation(name, owner, body, repeatable, streams)
        return body

    return declare


def operation_of(body: object) -> Operation:
    """The operation whose request `body` is."""
    return _BY_BODY[type(body)]


def is_repeatable(body: object) -> bool:
    """Whether sending it again after an answer of unknown outcome does no harm.

    One that is `strict` is of somebody who has to know that it was done for nobody else: what is done already
    is an error then. Such a request is not repeated by itself: the error might be its own doing.
    """
    return operation_of(body).repeatable and not getattr(body, "strict", False)


def owned_by(owner: str) -> Mapping[str, Operation]:
    """Operations of one actor or kind, by name."""
    return {name: found for name, found in OPERATIONS.items() if found.owner == owner}


def prepare(owner: str) -> None:
    """Have the bodies of one kind's operations looked at now, for all processes that are forked later.

    What msgspec knows of a class it finds out when it first meets it: 0.2 ms, of each process.
    """
    for found in OPERATIONS.values():
        if found.owner in (owner, ANY):
            with contextlib.suppress(msgspec.ValidationError):  # a field is missing
                msgspec.convert({}, found.body)
