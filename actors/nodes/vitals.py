"""What is thought of a peer by what is heard of it: up, suspect or down. Pure."""

import time
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from actors.nodes.detector import Detector

INTERVAL: Final = 1.0  # seconds between two heartbeats
SUSPECT, DOWN = 2.0, 8.0  # phi: one in a hundred would come later, one in a hundred million
State = Literal["new", "up", "suspect", "down"]


@dataclass(slots=True)
class Vitals:
    """Of one peer. `now` is always the monotonic clock's.

    Attributes:
        state: `new` until it is first heard, or should have been.
        since: when it came into that state, in nanoseconds since the epoch.
    """

    detector: Detector
    state: State = "new"
    since: int = field(default_factory=time.time_ns)

    def heard(self, now: float) -> bool:
        """A heartbeat has come; whether that changes the state."""
        if self.state in ("new", "down"):
            self.detector.resume(now)
        else:
            self.detector.heard(now)
        return self._enter("up")

    def seen(self, now: float) -> bool:
        """Something else has come, behind which heartbeats may be stuck; whether that changes the state.

        It says nothing about how often heartbeats come, and of one that was down only a heartbeat counts.
        """
        if self.state not in ("up", "suspect"):
            return False
        self.detector.resume(now)
        return self._enter("up")

    def look(self, now: float) -> bool:
        """Nothing has come for a while; whether that changes the state."""
        if self.state == "down" or now < self.detector.due(SUSPECT):
            return False
        if now >= self.detector.due(DOWN):
            return self._enter("down")
        return self.state == "up" and self._enter("suspect")

    def due(self) -> float | None:
        """When to look again; None for not before it has been heard."""
        if self.state == "down":
            return None
        return self.detector.due(SUSPECT if self.state == "up" else DOWN)

    def described(self, now: float) -> dict[str, Any]:
        """For the wire."""
        return {"state": self.state, "since": self.since, "phi": round(self.detector.phi(now), 2)}

    def _enter(self, state: State) -> bool:
        if state == self.state:
            return False
        self.state, self.since = state, time.time_ns()
        return True
