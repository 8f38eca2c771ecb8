"""What a child is and how its supervisor treats it: declared, checked once, never changed in place.

A specification that exists is valid: construction refuses a bad one and names every bad field. The
fields and their defaults follow OTP's `supervisor` (child specification, supervisor flags); `kind` and
`args` stand for its start function, since every leaf is a process forked from a warm image.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from actors.supervision.spec_check import child_problems, flag_problems, tree_problems

RestartType = Literal["permanent", "transient", "temporary"]
ChildType = Literal["worker", "supervisor"]
Strategy = Literal["one_for_one", "one_for_all", "rest_for_one", "dynamic"]
AutoShutdown = Literal["never", "any_significant", "all_significant"]
Shutdown = float | Literal["brutal_kill", "infinity"]

DEFAULT_WORKER_SHUTDOWN = 5000.0


class InvalidSpecError(ValueError):
    """A specification that cannot be used; `problems` has one line for each bad field."""

    code = "invalid_argument"

    def __init__(self, name: object, problems: list[str]) -> None:
        super().__init__(f"invalid specification of {name!r}: " + "; ".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class SupervisorFlags:
    """How a supervisor restarts its children. All durations in seconds.

    More than `intensity` restarts within `period` and it gives up. The first restart after `healthy`
    seconds of life is immediate; later ones wait from `backoff_first` doubling up to `backoff_limit`.
    """

    strategy: Strategy = "one_for_one"
    intensity: int = 1
    period: float = 5.0
    auto_shutdown: AutoShutdown = "never"
    backoff_first: float = 0.1
    backoff_limit: float = 30.0
    healthy: float = 5.0

    def __post_init__(self) -> None:
        if problems := flag_problems(self):
            raise InvalidSpecError("supervisor flags", problems)


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One child: a leaf (one process) or a supervisor with children of its own.

    `id` is the actor's full name, unique in the whole tree; `kind` says which program to run; `args`
    is JSON-like. `shutdown` is in milliseconds, or `brutal_kill`, or `infinity`; None takes the default
    (5000 for workers, infinity for supervisors). A child that is not `enabled` is answered as if its
    start had said ignore. A `dynamic` supervisor's only entry in `children` is the template.
    """

    id: str
    kind: str = ""
    args: Mapping[str, object] = field(default_factory=dict)
    restart: RestartType = "permanent"
    shutdown: Shutdown | None = None
    type: ChildType = "worker"
    significant: bool = False
    enabled: bool = True
    flags: SupervisorFlags | None = None
    children: "tuple[ChildSpec, ...]" = ()

    def __post_init__(self) -> None:
        supervisor = self.type == "supervisor"
        if self.shutdown is None:
            object.__setattr__(self, "shutdown", "infinity" if supervisor else DEFAULT_WORKER_SHUTDOWN)
        if supervisor and self.flags is None:
            object.__setattr__(self, "flags", SupervisorFlags())
        if problems := child_problems(self) or tree_problems(self):
            raise InvalidSpecError(self.id, problems)

    @property
    def supervision(self) -> SupervisorFlags:
        """The flags of a supervisor; the defaults for a worker, which has none."""
        return self.flags or SupervisorFlags()

    def names(self) -> Iterator[str]:
        """This child's name and, unless it is dynamic, those of all below it."""
        yield self.id
        if self.supervision.strategy != "dynamic":
            for child in self.children:
                yield from child.names()

    def to_dict(self) -> dict[str, object]:
        """Plain form with every default filled in."""
        plain: dict[str, object] = {f.name: getattr(self, f.name) for f in fields(self)}
        plain["args"] = dict(self.args)
        del plain["flags"], plain["children"]
        if self.flags is not None:
            plain["flags"] = {f.name: getattr(self.flags, f.name) for f in fields(self.flags)}
            plain["children"] = [child.to_dict() for child in self.children]
        return plain

    @classmethod
    def from_dict(cls, plain: object, depth: int = 0) -> "ChildSpec":
        """Read the plain form; unknown keys are ignored.

        Raises:
            InvalidSpecError: naming each bad field, or nested deeper than 16 supervisors.
        """
        known = _known(cls, plain, "child specification")
        name = known.setdefault("id", None)
        if depth > _MAX_DEPTH:
            raise InvalidSpecError(name, [f"children: nested deeper than {_MAX_DEPTH} supervisors"])
        if "flags" in known and known["flags"] is not None:
            known["flags"] = SupervisorFlags(**_known(SupervisorFlags, known["flags"], "flags"))
        if "children" in known:
            known["children"] = tuple(cls.from_dict(child, depth + 1) for child in _listed(name, known))
        return cls(**known)


_MAX_DEPTH = 16


def _known(cls: type, plain: object, what: str) -> dict[str, Any]:
    if not isinstance(plain, Mapping):
        raise InvalidSpecError(what, [f"{what}: must be a map"])
    return {f.name: plain[f.name] for f in fields(cls) if f.name in plain}


def _listed(name: object, known: dict[str, Any]) -> list[object]:
    children = known["children"]
    if not isinstance(children, list | tuple):
        raise InvalidSpecError(name, ["children: must be a list"])
    return list(children)
