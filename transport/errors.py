"""Errors as they travel: a code, one line of text, and what became of the request (docs/protocol.md)."""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing costs the command line 4 ms, a quarter of its start
if TYPE_CHECKING:
    from typing import Any, Literal

    Outcome = Literal["not_started", "done", "unknown"]

CODES = frozenset(
    {
        "not_found",
        "already_exists",
        "invalid_argument",
        "failed_precondition",
        "unavailable",
        "overloaded",
        "deadline_exceeded",
        "permission_denied",
        "not_implemented",
        "internal",
    },
)
RETRYABLE = frozenset({"unavailable", "overloaded"})
FULL = "full"  # among an error's details: a file system has no room, and will not have any by itself


class RemoteError(Exception):
    """A request ended without a result.

    Attributes:
        code: one of `CODES`.
        outcome: `not_started` (nothing happened, safe to repeat), `done` (it happened, the answer is an
            error all the same), `unknown` (it may have happened).
        actor: name of the actor that answered or died, where known.
        details: further fields for programs, for example the exit code that a runtime error maps to.
    """

    def __init__(
        self,
        code: str,
        text: str,
        *,
        outcome: Outcome = "not_started",
        actor: str = "",
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(text)
        self.code = code if code in CODES else "internal"
        self.outcome: Outcome = outcome
        self.actor = actor
        self.details = details or {}

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed when it is sent again."""
        return self.code in RETRYABLE and not self.details.get(FULL)

    def to_body(self) -> dict[str, Any]:
        """The body of an ERR message."""
        return {
            "code": self.code,
            "msg": str(self),
            "retryable": self.retryable,
            "outcome": self.outcome,
            "actor": self.actor,
            "details": self.details,
        }

    @classmethod
    def from_body(cls, body: Any) -> RemoteError:
        """Read the body of an ERR message; what is missing or of another type takes a safe value."""
        fields = body if isinstance(body, dict) else {}
        outcome = fields.get("outcome")
        details = fields.get("details")
        return cls(
            str(fields.get("code", "internal")),
            str(fields.get("msg", "no text")),
            outcome=outcome if outcome in ("not_started", "done") else "unknown",
            actor=str(fields.get("actor", "")),
            details=details if isinstance(details, dict) else {},
        )


class ProtocolError(Exception):
    """Bytes that do not follow docs/protocol.md. The text says what was wrong, never the bytes."""
