"""A transfer in flight: its puller."""

from dataclasses import dataclass

from actors.messages.declare import operation


@operation("transfers.attach", "puller", repeatable=True, streams=True)
@dataclass(frozen=True, slots=True)
class TransfersAttach:
    """Progress as PART, then the image as the final answer."""
