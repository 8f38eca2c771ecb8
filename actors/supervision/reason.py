"""Why a child ended: the one fact every restart decision rests on.

A reason carries its cause inside it, untouched, so that the report of a supervisor that gave up still
says which process died, of what signal.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

ReasonKind = Literal["normal", "shutdown", "killed", "abnormal"]

SIGKILL = 9
SIGTERM = 15
_KINDS = ("normal", "shutdown", "killed", "abnormal")
_MAX_CAUSES = 64


@dataclass(frozen=True, slots=True)
class ExitReason:
    """How a process or a supervisor ended.

    `normal` is exit code 0; `shutdown` an orderly end on request; `killed` SIGKILL; `abnormal` all else.
    """

    kind: ReasonKind
    text: str = ""
    exit_code: int | None = None
    signal: int | None = None
    cause: "ExitReason | None" = None

    @property
    def abnormal(self) -> bool:
        """Whether a transient child is restarted after it (OTP: neither normal nor shutdown)."""
        return self.kind in {"abnormal", "killed"}

    @classmethod
    def from_status(cls, exit_code: int | None, signal: int | None = None) -> "ExitReason":
        """The reason behind a wait status.

        SIGTERM without a handler counts as `shutdown`: the process did what it was asked to.
        """
        if signal == SIGKILL:
            return cls("killed", "killed by signal 9", signal=signal)
        if signal == SIGTERM:
            return cls("shutdown", "terminated by signal 15", signal=signal)
        if signal is not None:
            return cls("abnormal", f"killed by signal {signal}", signal=signal)
        if exit_code == 0:
            return cls("normal", exit_code=0)
        return cls("abnormal", f"exited with code {exit_code}", exit_code=exit_code)

    def to_dict(self) -> dict[str, object]:
        """Plain form for messages and logs; empty fields are left out."""
        plain: dict[str, object] = {"kind": self.kind}
        if self.text:
            plain["text"] = self.text
        if self.exit_code is not None:
            plain["exit_code"] = self.exit_code
        if self.signal is not None:
            plain["signal"] = self.signal
        if self.cause is not None:
            plain["cause"] = self.cause.to_dict()
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], depth: int = 0) -> "ExitReason":
        """Read the plain form back. A peer may have sent it: odd fields become an abnormal reason."""
        kind = plain.get("kind")
        cause = plain.get("cause")
        nested = isinstance(cause, Mapping) and depth < _MAX_CAUSES
        return cls(
            kind=kind if kind in _KINDS else "abnormal",
            text=str(plain.get("text", "")),
            exit_code=_integer(plain.get("exit_code")),
            signal=_integer(plain.get("signal")),
            cause=cls.from_dict(cause, depth + 1) if nested and isinstance(cause, Mapping) else None,
        )

    def __str__(self) -> str:
        own = self.text or self.kind
        return f"{own}: {self.cause}" if self.cause is not None else own


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) else None


NORMAL = ExitReason("normal", exit_code=0)
SHUTDOWN = ExitReason("shutdown")
