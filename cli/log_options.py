"""Options about what is kept of a container's output."""

from __future__ import annotations

from cli.limits import size, whole
from cli.options import Given, Option, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LOGGING = (
    Option("--log-driver", "what is kept of its output: file (the default) or none", value="NAME"),
    Option(
        "--log-opt", "max-size=10m: cut the log in pieces; max-file=3: keep so many", value="K=V", many=True
    ),
)
_DRIVERS = ("file", "none")


def logging(given: Given) -> dict[str, Any]:
    """What was given, as `options` of `containers.create` has it. Raises UsageError."""
    found: dict[str, Any] = {}
    driver = given.text("log-driver")
    if driver and driver not in _DRIVERS:
        raise UsageError(f"--log-driver {driver} is not supported: it is one of {', '.join(_DRIVERS)}")
    if driver:
        found["driver"] = driver
    for entry in given.many("log-opt"):
        key, _, value = entry.partition("=")
        if key == "max-size":
            found["max_size"] = size("log-opt max-size", value)
        elif key == "max-file":
            found["max_file"] = whole("log-opt max-file", value)
        else:
            raise UsageError(f"--log-opt is max-size=SIZE or max-file=NUMBER, not {entry!r}")
    return {"log": found} if found else {}
