"""Options about what is kept of a container's output."""

from __future__ import annotations

from cli.limits import size, whole
from cli.options import Given, Option, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LOGGING = (
    Option(
        "--log-driver",
        "where its output goes: file, none, json, journald or binary:///PROGRAM (file)",
        value="NAME",
    ),
    Option(
        "--log-opt",
        "max-size=10m: cut the log in pieces; max-file=3: keep so many (all is kept)",
        value="K=V",
        many=True,
    ),
)
_DRIVERS = ("file", "none", "json", "journald")
_ALIASES = {"json-file": "json"}


def logging(given: Given) -> dict[str, Any]:
    """What was given, as `options` of `containers.create` has it. Raises UsageError."""
    found: dict[str, Any] = {}
    driver = given.text("log-driver")
    driver = _ALIASES.get(driver, driver)
    if driver.startswith("binary:"):
        found |= {"driver": "binary", "program": driver}
    elif driver and driver not in _DRIVERS:
        known = ", ".join(_DRIVERS)
        raise UsageError(f"--log-driver {driver} is not supported: it is one of {known}, binary:///PROGRAM")
    elif driver:
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
