"""What the parts of the daemon count of themselves, as families of samples.

No container's actor is asked for anything: there may be a thousand, and each would have to wake up. What is
known of them is what the supervisor, the router, metadata and the kernel know.
"""

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from prometheus_client.core import Metric

from actors import messages as m
from actors.linux import process
from actors.metric_names import Family, families
from actors.settings import Settings
from storage.content import ContentStore

LOOK_EVERY: Final = 60.0  # seconds between two looks at the stores
DATABASES: Final = ("metadata", "events", "networks")
SILENT: Final = frozenset({"zygote", "router"})  # without a mailbox


def of_actors(actors: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
    """What the supervisor knows of each, and the kernel of its process."""
    up, restarts, memory, processor, files = found = families(
        "actord_actor_up", "actord_actor_restarts", "actord_actor_resident_bytes",
        "actord_actor_cpu_seconds", "actord_actor_open_fds",
    )  # fmt: skip
    for one in actors:
        name = one["name"]
        up.add(1.0 if one["state"] in ("running", "asleep") else 0.0, name, one["kind"])
        restarts.add(one["restarts"], name)
        with suppress(OSError):  # it has ended, or is not there yet
            usage = process.usage(one["pid"])
            memory.add(usage.resident, name)
            processor.add(usage.processor, name)
            files.add(usage.descriptors, name)
    yield from (family.metric for family in found)


def of_the_tree(told: Mapping[str, Any]) -> Iterator[Metric]:
    """What the supervisor has counted."""
    reports, exits = found = families("actord_supervision_reports", "actord_actor_exits")
    for kind, number in told["reports"].items():
        reports.add(number, kind)
    for kind, reason, number in told["exits"]:
        exits.add(number, kind, reason)
    yield from (family.metric for family in found)


def asked(actors: Iterable[Mapping[str, Any]]) -> list[str]:
    """Who is asked for figures: those of whom there is one."""
    return [
        one["name"]
        for one in actors
        if "/" not in one["name"] and one["state"] == "running" and one["name"] not in SILENT
    ]


def of_figures(figures: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    """The answers to `metrics.figures`, by actor."""
    waiting, refused, waits, work = found = families(
        "actord_mailbox_messages", "actord_mailbox_refused", "actord_mailbox_wait_seconds",
        "actord_message_seconds",
    )  # fmt: skip
    for actor, one in figures.items():
        waiting.add(one["waiting"], actor)
        refused.add(one["refused"], actor)
        waits.add_durations(one["waits"], actor)
        work.add_durations(one["work"], actor)
    yield from (family.metric for family in found)
    for one in figures.values():
        yield from _of_trade(one)


def _of_trade(figures: Mapping[str, Any]) -> Iterator[Metric]:
    made: dict[str, Family] = {}
    for name, label, number in figures["counts"]:
        _made(made, f"actord_{name}").add(number, *([label] if label else []))
    for name, value in figures["levels"].items():
        _made(made, f"actord_{name}").add(value)
    for name, spans in figures["spans"].items():
        _made(made, f"actord_{name}_seconds").add_durations(spans)
    yield from (family.metric for family in made.values())


def _made(made: dict[str, Family], name: str) -> Family:
    if name not in made:
        made[name] = Family(name)
    return made[name]


def of_traffic(traffic: Mapping[str, Any]) -> Iterator[Metric]:
    """The answer to `router.traffic`."""
    ended, took, waiting, messages = found = families(
        "actord_requests", "actord_request_seconds", "actord_requests_waiting", "actord_router_messages"
    )
    for operation, outcome, number in traffic["ended"]:
        ended.add(number, operation, outcome)
    for operation, spans in traffic["took"].items():
        took.add_durations(spans, operation)
    for kind, number in traffic["waiting"].items():
        waiting.add(number, kind)
    for kind, number in traffic["counters"].items():
        messages.add(number, kind.removeprefix("received_").lower())
    yield from (family.metric for family in found)


class Transfers:
    """What transfers have said of themselves; they end long before anybody could ask all of them."""

    def __init__(self) -> None:
        self._bytes: Counter[str] = Counter()
        self._ended: Counter[tuple[str, str]] = Counter()

    def note(self, told: m.MetricsTransferred) -> None:
        """More bytes, or an end."""
        self._bytes[told.task] += told.bytes
        if told.outcome:
            self._ended[told.task, told.outcome] += 1

    def moved(self) -> dict[str, int]:
        """Bytes by task."""
        return dict(self._bytes.copy())

    def collect(self) -> Iterator[Metric]:
        """The sums."""
        moved, ended = found = families("actord_transfer_bytes", "actord_transfers")
        for task, count in self._bytes.copy().items():
            moved.add(count, task)
        for key, count in self._ended.copy().items():
            ended.add(count, *key)
        yield from (family.metric for family in found)


class Stores:
    """Sizes; what costs more than a look at a few files is looked at once a minute."""

    def __init__(self, settings: Settings) -> None:
        self._root = settings.root
        self._content = ContentStore(settings.content, reader=True)
        self._looked = -LOOK_EVERY
        self._sizes: dict[str, list[int]] = {}

    @property
    def is_due(self) -> bool:
        """Whether the last look is too long ago."""
        return time.monotonic() - self._looked >= LOOK_EVERY

    def look(self, snapshots: Iterable[Mapping[str, Any]]) -> None:
        """Take down the sizes of blobs, and those of layers, which the snapshotter has on record."""
        self._looked = time.monotonic()
        self._sizes = {
            "blobs": [one.size for one in self._content.blobs()],
            "layers": [one["size"] for one in snapshots],
        }

    def collect(self) -> Iterator[Metric]:
        """What is known now."""
        items, size, whole, free = found = families(
            "actord_store_items", "actord_store_bytes", "actord_filesystem_bytes",
            "actord_filesystem_free_bytes",
        )  # fmt: skip
        for name, sizes in self._sizes.items():
            items.add(len(sizes), name)
            size.add(sum(sizes), name)
        for name in DATABASES:
            size.add(_size(self._root / f"{name}.db"), f"{name}.db")
        there = os.statvfs(self._root)
        whole.add(there.f_blocks * there.f_frsize)
        free.add(there.f_bavail * there.f_frsize)
        yield from (family.metric for family in found)


def _size(database: Path) -> int:
    """With its write-ahead log."""
    found = 0
    for path in (database, database.with_name(f"{database.name}-wal")):
        with suppress(OSError):
            found += path.stat().st_size
    return found
