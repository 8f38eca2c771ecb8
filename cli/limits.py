"""Options that limit what a container may use, and the sizes that people write."""

from __future__ import annotations

from cli.options import LARGEST, Given, Option, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LIMITS = (
    Option("-m --memory", "most memory, for example 512m (no limit)", value="SIZE"),
    Option("--memory-swap", "most memory and swap together; -1 for no limit (-1)", value="SIZE"),
    Option("--memory-reservation", "memory that it keeps when the host runs short (none)", value="SIZE"),
    Option("--cpus", "most processors at once, for example 1.5 (no limit)", value="NUMBER"),
    Option("-c --cpu-shares", "weight among those that want processors, 2 to 262144 (1024)", value="NUMBER"),
    Option("--cpuset-cpus", "processors that it may run on, for example 0-2,4 (all)", value="LIST"),
    Option("--cpuset-mems", "memory nodes (NUMA) that it may use (all)", value="LIST"),
    Option("--pids-limit", "most processes and threads (no limit)", value="NUMBER"),
    Option(
        "--blkio-weight", "weight among those that want the disks, 10 to 1000 (the kernel's)", value="NUMBER"
    ),
    Option(
        "--ulimit",
        "limit of each process, for example nofile=1024:2048 (nofile=1024)",
        value="N=SOFT[:HARD]",
        many=True,
    ),
    Option(
        "--oom-score-adj",
        "how soon the kernel kills it for memory, -1000 to 1000 (the daemon's)",
        value="NUMBER",
    ),
    Option("--shm-size", "size of /dev/shm (64m)", value="SIZE"),
    Option("--cgroup-parent", "cgroup below which its own is made (/actord)", value="PATH"),
)
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZES = ("memory", "memory-swap", "memory-reservation", "shm-size")
_NUMBERS = ("cpu-shares", "pids-limit", "blkio-weight", "oom-score-adj")
_TEXTS = ("cpuset-cpus", "cpuset-mems", "cgroup-parent")


def limits(given: Given) -> dict[str, Any]:
    """What was given, as `options` of `containers.create` has it. Raises UsageError."""
    found: dict[str, Any] = {_field(key): size(key, given.text(key)) for key in _SIZES if given.flag(key)}
    found |= {_field(key): whole(key, given.text(key)) for key in _NUMBERS if given.flag(key)}
    found |= {_field(key): given.text(key) for key in _TEXTS if given.flag(key)}
    if given.flag("cpus"):
        found["cpus"] = given.number("cpus", 0.0)
    found["ulimits"] = [_ulimit(text) for text in given.many("ulimit")]
    return found


def _field(key: str) -> str:
    return key.replace("-", "_")


def size(key: str, text: str) -> int:
    """Bytes, from `512m`, `1.5g`, `64KiB` or `-1`. Raises UsageError."""
    if text == "-1":
        return -1
    digits = text.rstrip("bBiIkKmMgGtT")
    unit = text[len(digits) :].lower().removesuffix("ib")
    unit = unit.removesuffix("b") or unit
    try:
        found = int(float(digits) * _UNITS[unit if unit != "b" else ""])
    except (ValueError, KeyError, OverflowError):
        raise UsageError(f"--{key} wants a size such as 512m, not {text!r}") from None
    if abs(found) > LARGEST:
        raise UsageError(f"--{key} wants a size of less than 8 EiB, not {text!r}")
    return found


def whole(key: str, text: str) -> int:
    """A whole number. Raises UsageError."""
    try:
        found = int(text)
    except ValueError:
        raise UsageError(f"--{key} wants a whole number, not {text!r}") from None
    if abs(found) > LARGEST:
        raise UsageError(f"--{key} wants a whole number of at most 63 bits, not {text!r}")
    return found


def _ulimit(text: str) -> dict[str, Any]:
    name, equals, values = text.partition("=")
    soft, _, hard = values.partition(":")
    if not name or not equals:
        raise UsageError(f"--ulimit wants NAME=SOFT[:HARD], not {text!r}")
    numbers = [-1 if one == "unlimited" else whole("ulimit", one) for one in (soft, hard or soft)]
    return {"name": name, "soft": numbers[0], "hard": numbers[1]}
