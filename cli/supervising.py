"""Options about how a container ends, begins again, and is looked after."""

from __future__ import annotations

from cli.limits import whole
from cli.options import Given, Option, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RESTART = Option(
    "--restart",
    "when it exits, start it again: no, on-failure[:TRIES], always, unless-stopped (no)",
    value="POLICY",
)
SUPERVISION = (
    Option(
        "--stop-signal", "signal that actr stop sends: name or number (the image's, or TERM)", value="SIGNAL"
    ),
    Option("--stop-timeout", "how long actr stop waits before SIGKILL (10)", value="SECONDS"),
    RESTART,
    Option(
        "--health-cmd",
        "command that its shell runs again and again; all is well if it exits with 0 (the image's)",
        value="COMMAND",
    ),
    Option("--health-interval", "time between two of these (30s)", value="TIME"),
    Option("--health-timeout", "time that one may take (30s)", value="TIME"),
    Option("--health-retries", "failures in a row that make it unhealthy (3)", value="NUMBER"),
    Option("--health-start-period", "time after its start in which failures do not count (0s)", value="TIME"),
    Option("--no-healthcheck", "run no such command, whatever the image says"),
)
_POLICIES = ("no", "on-failure", "always", "unless-stopped")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
_TIMES = ("interval", "timeout", "start-period")


def supervision(given: Given) -> dict[str, Any]:
    """What was given, as `options` of `containers.create` has it. Raises UsageError."""
    found: dict[str, Any] = {}
    if given.flag("stop-signal"):
        from cli.kill import signal_number

        found["stop_signal"] = str(signal_number(given.text("stop-signal")))
    if given.flag("stop-timeout"):
        found["stop_timeout"] = given.number("stop-timeout", 0.0)
    if given.flag("restart"):
        found["restart"] = restart(given.text("restart"))
        if given.flag("rm") and found["restart"]["policy"] != "no":
            raise UsageError("--rm and --restart exclude each other: one that is removed cannot start again")
    return {**found, **_health(given)}


def restart(text: str) -> dict[str, Any]:
    """A policy as people write it. Raises UsageError."""
    policy, colon, tries = text.partition(":")
    if policy not in _POLICIES or (colon and policy != "on-failure"):
        raise UsageError(f"--restart is one of {', '.join(_POLICIES)}, or on-failure:TRIES, not {text!r}")
    return {"policy": policy, "tries": whole("restart", tries) if colon else 0}


def _health(given: Given) -> dict[str, Any]:
    if given.flag("no-healthcheck"):
        return {"health": {"test": ["NONE"]}}
    found: dict[str, Any] = {
        name.replace("-", "_"): duration(f"health-{name}", given.text(f"health-{name}"))
        for name in _TIMES
        if given.flag(f"health-{name}")
    }
    if given.flag("health-retries"):
        found["retries"] = whole("health-retries", given.text("health-retries"))
    if given.text("health-cmd"):
        found["test"] = ["/bin/sh", "-c", given.text("health-cmd")]
    return {"health": found} if found else {}


def duration(key: str, text: str) -> float:
    """Seconds, from `500ms`, `10s`, `1.5m`, `2h` or a number of seconds. Raises UsageError."""
    digits = text.rstrip("hms")
    try:
        value = float(digits) * _UNITS[text[len(digits) :]]
    except (ValueError, KeyError):
        value = -1.0
    if not 0 <= value < 1e9:
        raise UsageError(f"--{key} wants a time such as 30s, not {text!r}")
    return value
