"""Where the figures are: metrics."""

from dataclasses import dataclass

from actors.messages.declare import operation


@operation("metrics.address", "metrics", repeatable=True)
@dataclass(frozen=True, slots=True)
class MetricsAddress:
    """Answer: `url` of the HTTP endpoint."""
