"""How far a transfer is, in the words that clients of containerd 2 know, over their stream for it."""

from collections.abc import Mapping
from typing import Any, Final

from actors.gateway.streaming import Stream
from transport.grpc.interface import message

_EVENTS: Final = {"done": "complete", "mounted": "complete", "present": "already exists"}


class Told:
    """What one client is told; nothing, if it has opened no stream. From any thread, without waiting."""

    def __init__(self, stream: Stream | None) -> None:
        self._stream = stream
        self._roots: list[str] = []  # what has no digest, such as an image: the rest belongs to it

    def status(self, text: str) -> None:
        """What is being done."""
        self._tell(event=text)

    def named(self, event: str, name: str, digest: str, size: int) -> None:
        """What has become of an image."""
        self._tell(event=event, name=name, desc={"digest": digest, "size": size})

    def part(self, found: Mapping[str, Any]) -> None:
        """Progress of the work: `ref` is a blob, by its digest, or an image."""
        ref, event = found["ref"], _EVENTS.get(found["status"], found["status"])
        more: dict[str, Any] = {"progress": found["offset"], "total": found["total"]}
        if ":" in ref and ref.partition(":")[0].isalnum() and "/" not in ref:
            more |= {"parents": self._roots[-1:], "desc": {"digest": ref, "size": found["total"]}}
        elif ref not in self._roots:
            self._roots.append(ref)
        self._tell(event=event, name=ref, **more)

    def _tell(self, **fields: Any) -> None:
        if self._stream is not None:
            self._stream.offer(message("containerd.types.transfer.Progress")(**fields))
