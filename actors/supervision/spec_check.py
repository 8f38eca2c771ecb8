"""The rules a specification has to keep. Each problem found starts with the name of the field.

The functions take plain objects: what they look at may have come from a file or a peer and be of any type.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

RESTARTS = ("permanent", "transient", "temporary")
TYPES = ("worker", "supervisor")
STRATEGIES = ("one_for_one", "one_for_all", "rest_for_one", "dynamic")
AUTO_SHUTDOWNS = ("never", "any_significant", "all_significant")

MAX_NAME = 512
MAX_ARGS_DEPTH = 32
MAX_ARGS_VALUES = 100_000
MAX_ARGS_BYTES = 128 << 10
"""As JSON: a fork is asked for in one message, and so is every supervisor told of the child that follows."""


def flag_problems(flags: Any) -> list[str]:
    """What is wrong with supervisor flags, one line a field."""
    problems = []
    if flags.strategy not in STRATEGIES:
        problems.append(f"strategy: must be one of {', '.join(STRATEGIES)}")
    if not _is_integer(flags.intensity) or flags.intensity < 0:
        problems.append("intensity: must be an integer of 0 or more")
    if flags.auto_shutdown not in AUTO_SHUTDOWNS:
        problems.append(f"auto_shutdown: must be one of {', '.join(AUTO_SHUTDOWNS)}")
    problems += [
        f"{name}: must be a number of seconds above 0"
        for name in ("period", "backoff_first", "backoff_limit", "healthy")
        if not _is_duration(getattr(flags, name)) or getattr(flags, name) <= 0
    ]
    if not problems and flags.backoff_limit < flags.backoff_first:
        problems.append("backoff_limit: must not be below backoff_first")
    return problems


def child_problems(spec: Any) -> list[str]:
    """What is wrong with the fields of one child specification, its children left aside."""
    problems = _name_problems(spec)
    if args := args_problem(spec.args):
        problems.append(args)
    if spec.restart not in RESTARTS:
        problems.append(f"restart: must be one of {', '.join(RESTARTS)}")
    if spec.type not in TYPES:
        problems.append(f"type: must be one of {', '.join(TYPES)}")
    if not _is_shutdown(spec.shutdown):
        problems.append("shutdown: must be brutal_kill, infinity or milliseconds of 0 or more")
    problems += [
        f"{name}: must be true or false"
        for name in ("significant", "enabled")
        if not isinstance(getattr(spec, name), bool)
    ]
    if spec.significant is True and spec.restart == "permanent":
        problems.append("significant: a permanent child cannot be significant")
    return problems


def tree_problems(spec: Any) -> list[str]:
    """What is wrong between a specification and those nested in it."""
    if spec.type != "supervisor":
        return ["children: only a supervisor has flags and children"] if spec.flags or spec.children else []
    if spec.flags.strategy == "dynamic":
        return _template_problems(spec)
    problems = significance_problems(spec.flags, spec.children)
    seen: set[str] = set()
    for name in spec.names():
        if name in seen:
            problems.append(f"id: {name!r} is used twice")
        seen.add(name)
    return problems


def significance_problems(flags: Any, children: Any) -> list[str]:
    """Significant children need a supervisor that shuts down because of them."""
    if flags.auto_shutdown != "never":
        return []
    return [
        f"significant: {child.id!r} cannot be significant while auto_shutdown is never"
        for child in children
        if child.significant
    ]


def _template_problems(spec: Any) -> list[str]:
    if len(spec.children) != 1:
        return ["children: a dynamic supervisor has exactly one, its template"]
    if spec.children[0].type != "worker":
        return ["children: the template of a dynamic supervisor must be a worker"]
    return significance_problems(spec.flags, spec.children)


def _name_problems(spec: Any) -> list[str]:
    problems = []
    if not isinstance(spec.id, str) or not spec.id:
        problems.append("id: must be a non-empty string")
    elif len(spec.id) > MAX_NAME or not spec.id.isprintable():
        problems.append(f"id: must be printable and of at most {MAX_NAME} characters")
    if not isinstance(spec.kind, str) or (spec.type == "worker" and not spec.kind):
        problems.append("kind: must name the program to start")
    return problems


def args_problem(args: object, most: int = MAX_ARGS_BYTES) -> str | None:
    """What is wrong with what a child is to be told, in at most `most` bytes."""
    if not isinstance(args, Mapping):
        return "args: must be a map"
    level: list[object] = [args]
    values = 0
    for _ in range(MAX_ARGS_DEPTH):
        values += len(level)
        if values > MAX_ARGS_VALUES:
            return f"args: more than {MAX_ARGS_VALUES} values"
        if any(isinstance(v, Mapping) and not all(isinstance(k, str) for k in v) for v in level):
            return "args: keys must be strings"
        if not all(v is None or isinstance(v, _PLAIN) for v in level):
            return "args: only maps, lists, strings, numbers, booleans and null"
        level = [inner for v in level for inner in _inside(v)]
        if not level:
            size = len(json.dumps(args, default=dict))
            return f"args: {size} bytes, more than {most}" if size > most else None
    return f"args: nested deeper than {MAX_ARGS_DEPTH}"


_PLAIN = (Mapping, list, tuple, str, int, float)


def _inside(value: object) -> list[object]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else []


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_duration(value: object) -> bool:
    return (isinstance(value, float) and math.isfinite(value)) or _is_integer(value)


def _is_shutdown(value: Any) -> bool:
    return (
        value in {"brutal_kill", "infinity"} if isinstance(value, str) else _is_duration(value) and value >= 0
    )
