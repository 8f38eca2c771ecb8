"""The labels that garbage collection reads, as containerd defines them.

containerd.io/gc.root                    any value: a root
containerd.io/gc.ref.content[.x]         the value is a digest that this resource refers to
containerd.io/gc.ref.snapshot.NAME[/x]   a snapshot of the snapshotter NAME
containerd.io/gc.ref.image[.x]           an image
containerd.io/gc.bref.*                  the same backwards: what is named there refers to this resource
containerd.io/gc.expire                  a time (RFC 3339) from which on a lease or image holds nothing
containerd.io/gc.flat                    on a lease: what it holds is kept, what that refers to is not
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from storage.collection.reachability import Resource
from storage.errors import InvalidArgumentError

ROOT: Final = "containerd.io/gc.root"
EXPIRE: Final = "containerd.io/gc.expire"
FLAT: Final = "containerd.io/gc.flat"
REF_CONTENT: Final = "containerd.io/gc.ref.content"
REF_SNAPSHOT: Final = "containerd.io/gc.ref.snapshot"
UNCOMPRESSED: Final = "containerd.io/uncompressed"
SOURCE: Final = "containerd.io/distribution.source"
_LATEST: Final = 2**63 - 1
_PREFIX: Final = "containerd.io/gc."
_FORWARD: Final = "containerd.io/gc.ref."
_BACKWARD: Final = "containerd.io/gc.bref."
_TYPES: Final = {"content": "content", "image": "images", "container": "containers"}


def is_root(labels: Mapping[str, str]) -> bool:
    """Whether these labels make a root."""
    return bool(labels.get(ROOT))


def concern_collection(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels of the list above, without all others."""
    return {key: value for key, value in labels.items() if key.startswith(_PREFIX)}


def references(namespace: str, labels: Mapping[str, str]) -> Iterator[Resource]:
    """What a resource with these labels refers to."""
    return _named(namespace, labels, _FORWARD)


def referrers(namespace: str, labels: Mapping[str, str]) -> Iterator[Resource]:
    """What refers to a resource with these labels, as far as the labels say so."""
    return _named(namespace, labels, _BACKWARD)


def _named(namespace: str, labels: Mapping[str, str], prefix: str) -> Iterator[Resource]:
    for key, value in labels.items():
        if key.startswith(prefix) and value:
            kind = _type(key.removeprefix(prefix))
            if kind is not None:
                yield Resource(kind, namespace, value)


def _type(rest: str) -> str | None:
    """`content.l.0` is content, `snapshot.overlayfs/x` is snapshots/overlayfs; None for what is unknown."""
    if rest.startswith("snapshot."):
        name = rest.removeprefix("snapshot.").partition("/")[0]
        return f"snapshots/{name}" if name else None
    for name, kind in _TYPES.items():
        if rest == name or rest.startswith((f"{name}.", f"{name}/")):
            return kind
    return None


def expiry(labels: Mapping[str, str]) -> int | None:
    """When labels say that their lease or image expires, nanoseconds since the epoch; None for never.

    What lies before the epoch, or beyond what a database holds (in 2262), is the nearest that does not.

    Raises:
        InvalidArgumentError: the time is not one of RFC 3339.
    """
    text = labels.get(EXPIRE)
    if not text:
        return None
    try:
        at = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidArgumentError(f"label {EXPIRE} {text[:80]!a} is not a time of rfc 3339") from error
    if at.tzinfo is None:
        raise InvalidArgumentError(f"label {EXPIRE} {text[:80]!a} has no time zone: end it with Z")
    return min(max(0, int(at.timestamp()) * 1_000_000_000), _LATEST)


def expired(labels: Mapping[str, str], now: int) -> bool:
    """Whether that time has come; a label that cannot be read expires nothing."""
    try:
        at = expiry(labels)
    except InvalidArgumentError:
        return False
    return at is not None and at <= now


def children_labels(digests: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Labels of a document for what it refers to, each named by its role: config, l.0, m.0."""
    return {f"{REF_CONTENT}.{role}": digest for role, digest in digests}


def snapshot_label(snapshotter: str, name: str) -> dict[str, str]:
    """The label of a config for the snapshot that the layers of its image unpack to."""
    return {f"{REF_SNAPSHOT}.{snapshotter}": name}


def source_label(host: str, repository: str) -> dict[str, str]:
    """Where a blob came from: a registry and its repository there."""
    return {f"{SOURCE}.{host}": repository}
