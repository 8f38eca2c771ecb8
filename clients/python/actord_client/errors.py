"""What can go wrong, as exceptions."""

from typing import Any


class ActordError(Exception):
    """The parent of every error of this package."""


class ConnectError(ActordError):
    """No connection: nobody answers there, the key is not known, or the connection file is none."""


class ProtocolError(ActordError):
    """Bytes that do not follow the protocol."""


class RequestError(ActordError):
    """A request ended without a result.

    Attributes:
        code: `not_found`, `already_exists`, `invalid_argument`, `failed_precondition`, `unavailable`,
            `overloaded`, `deadline_exceeded`, `permission_denied`, `not_implemented` or `internal`.
        outcome: `not_started` (nothing happened), `done` (this is its result), `unknown` (it may have been).
        retryable: whether the same request may succeed later.
        actor: who answered or died, where known.
        details: further fields, for example `exit_code`.
        final: whether a living actor said so: then it is the answer, and no misfortune of the way.
    """

    def __init__(
        self, code: str, text: str, *, outcome: str = "not_started", final: bool = False, **fields: Any
    ) -> None:
        super().__init__(text)
        self.code = code
        self.outcome = outcome
        self.final = final
        self.retryable = bool(fields.get("retryable", code in ("unavailable", "overloaded")))
        self.actor = str(fields.get("actor", ""))
        self.details: dict[str, Any] = fields.get("details") or {}

    @classmethod
    def from_body(cls, body: Any, *, final: bool) -> "RequestError":
        """From the body of an ERR message; what is missing takes a safe value."""
        fields = dict(body) if isinstance(body, dict) else {}
        code, text = str(fields.pop("code", "internal")), str(fields.pop("msg", "no text"))
        outcome = str(fields.pop("outcome", "unknown"))
        fields.pop("final", None)
        return cls(code, text, outcome=outcome, final=final, **{str(key): fields[key] for key in fields})
