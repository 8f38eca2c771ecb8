"""A bundle: what the OCI runtime is given, made from a container's record and its image.

Everything here can be done again after a crash: directories may exist, mounts are replaced, files are
written whole. The layout of a bundle directory is the constants below.
"""

import functools
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from actors.linux import mounts, plain_file
from actors.linux.mount_values import Mount, shortened
from actors.runtime import filters, shifted, users
from actors.runtime.annotations import image_annotations
from actors.runtime.wishes import HealthWish, Wishes
from storage.content import ContentStore
from storage.descriptor import Descriptor
from storage.digest import Digest
from storage.image.chain import chain_ids
from storage.image.config import parse_config
from storage.image.document import MAX_DOCUMENT_SIZE
from storage.image.platform import host_platform, parse_platform
from storage.image.selection import find_manifest

ROOTFS = "rootfs"
CONFIG = "config.json"
JOURNAL = "journal.json"
FAILURES = "failures.json"  # to start, in a row
LOCK = "lock"
PIPES = "pipes"
PINS = "pins"
PID_FILE = "pid"
RUNTIME_LOG = "runtime.log"
EXECS = "execs"
HEALTH = "health.json"
TASK = "task.json"
COPYING = "copying"
MAX_CONFIG = 8 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Image:
    """What of an image concerns a container: where its layers end, its configuration, what it is labelled.

    `size` is that of its configuration's document, in bytes.
    """

    chain_id: str
    config: Mapping[str, Any]
    stop_signal: str
    annotations: Mapping[str, str]
    size: int


def find_image(content: Path, digest: str, wanted: str) -> Image:
    """Read manifest and configuration from the content store, for the host's platform unless one is named.

    `digest` is what the container was created from, whatever the image's name points at by now.

    Raises:
        StorageError: a document is missing or malformed.
    """
    store = ContentStore(content, reader=True)

    def read(descriptor: Descriptor) -> bytes:
        return store.read(descriptor.digest, MAX_DOCUMENT_SIZE)

    suits = parse_platform(wanted) if wanted else host_platform()
    root = Digest.parse(digest)
    _, manifest = find_manifest(Descriptor("", root, store.info(root).size), suits, read)
    raw = store.read(manifest.config.digest, MAX_CONFIG)
    config = parse_config(raw, manifest.config.media_type)
    chain = chain_ids(config.diff_ids)
    document = json.loads(raw)
    return Image(
        chain_id=str(chain[-1]) if chain else "",
        config=document.get("config") or {},
        stop_signal=config.stop_signal,
        annotations=image_annotations(document),
        size=len(raw),
    )


def mount_rootfs(
    bundle: Path, how: list[dict[str, Any]], *, shorten: bool = False, brief: bool = False
) -> None:
    """Mount the snapshot at `rootfs`, in place of whatever a crash left there.

    With `shorten`, the mounts are a client's, who names every directory in full. With `brief`, the snapshot
    goes with the container's run.
    """
    rootfs = bundle / ROOTFS
    rootfs.mkdir(parents=True, exist_ok=True)
    unmount_rootfs(bundle)
    values = [
        Mount(
            type=one["type"],
            source=one["source"],
            options=tuple(one["options"]),
            base=one.get("base") or None,
        )
        for one in how
    ]
    if shorten:
        mounts.mount_all([shortened(one) for one in values], str(rootfs))
    else:
        mounts.mount_own(values, str(rootfs), brief=brief)


def unmount_rootfs(bundle: Path) -> None:
    """Unmount what is mounted at `rootfs`, however often, and what of volumes is shown shifted."""
    mounts.umount_stack(str(bundle / ROOTFS))
    shifted.hide(bundle)


def unmount_all(bundle: Path) -> None:
    """Unmount what is mounted anywhere in it: it is about to be removed."""
    mounts.umount_within(str(bundle))


def write_process(bundle: Path, directory: Path, wish: Wishes) -> Path:
    """The `process` object of an exec, from that of the container and what the caller wants otherwise."""
    process: dict[str, Any] = read_spec(bundle)["process"]
    process["args"] = list(wish.args)
    process["terminal"] = wish.terminal
    process["cwd"] = wish.cwd or process["cwd"]
    process["env"] = [*process["env"], *wish.env]
    if wish.user:
        found = identity(bundle, wish.user)
        groups = list(found.additional_gids)
        process["user"] = {"uid": found.uid, "gid": found.gid, "additionalGids": groups}
    for name in ("oomScoreAdj", "consoleSize"):
        process.pop(name, None)
    if wish.terminal:
        known = any(entry.startswith("TERM=") for entry in process["env"])
        process["env"] += [] if known else ["TERM=xterm"]
        if wish.console_size is not None:
            process["consoleSize"] = dict(zip(("height", "width"), wish.console_size, strict=True))
    path = directory / "process.json"
    _write(path, process)
    return path


def cgroups_path(namespace: str, container: str, parent: str = "") -> str:
    """Where a container's cgroup is in each hierarchy."""
    return f"{parent.rstrip('/') or '/actord'}/{namespace}/{container}"


def actual_cgroups_path(bundle: Path) -> str:
    """Where the cgroup of the container of this bundle is: as its specification says, if there is one."""
    try:
        return _facts(bundle).cgroups_path
    except FileNotFoundError:
        return cgroups_path(bundle.parent.name, bundle.name)


def has_hooks(bundle: Path) -> bool:
    """Whether the caller wants programs run at points of the container's life."""
    try:
        return _facts(bundle).hooks
    except FileNotFoundError:
        return False


def has_filter_to_make(bundle: Path) -> bool:
    """Whether it has a seccomp profile, and no filter that has been made of it. Raises FileNotFoundError."""
    return _facts(bundle).filter_to_make


@dataclass(frozen=True, slots=True)
class _Facts:
    cgroups_path: str
    hooks: bool
    filter_to_make: bool


def _facts(bundle: Path) -> _Facts:
    path = str(bundle / CONFIG)
    found = os.stat(path)  # noqa: PTH116  # several times in each run
    return _read_facts(path, found.st_ino, found.st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _read_facts(path: str, *_version: int) -> _Facts:
    """Read once for each version of the file, of which each has an inode of its own (`_write`)."""
    with open(path, "rb") as file:  # noqa: PTH123
        spec = msgspec.json.decode(file.read())
    linux = spec.get("linux", {})
    return _Facts(str(linux["cgroupsPath"]), bool(spec.get("hooks")), filters.is_to_make(spec))


def write_spec(bundle: Path, spec: Mapping[str, Any]) -> None:
    """Write config.json."""
    _write(bundle / CONFIG, spec)


def read_spec(bundle: Path) -> dict[str, Any]:
    """Read config.json. Raises FileNotFoundError."""
    found: dict[str, Any] = json.loads((bundle / CONFIG).read_bytes())
    return found


def write_health(bundle: Path, wish: HealthWish | None) -> None:
    """Keep how the container's health is looked at, where its actor finds it after a crash."""
    path = bundle / HEALTH
    if wish is None or not wish.test:
        path.unlink(missing_ok=True)
    else:
        _write(path, asdict(wish))


def read_health(bundle: Path) -> HealthWish | None:
    """How its health is looked at; None for not at all."""
    try:
        return msgspec.json.decode((bundle / HEALTH).read_bytes(), type=HealthWish)
    except FileNotFoundError:
        return None


def write_task(bundle: Path, task: Mapping[str, Any]) -> None:
    """Keep what a client said when it had the container created: root, standard streams."""
    _write(bundle / TASK, task)


def read_task(bundle: Path) -> dict[str, Any]:
    """What that was; empty for a container that is not run in steps."""
    try:
        found: dict[str, Any] = json.loads((bundle / TASK).read_bytes())
    except FileNotFoundError:
        return {}
    return found


def identity(bundle: Path, user: str) -> users.Identity:
    """Look a user up in the container's own files. Raises InvalidSpecError."""
    return users.resolve(user, users.opener(bundle / ROOTFS))


def _write(path: Path, document: Mapping[str, Any]) -> None:
    temporary = f"{path}.new"
    plain_file.write(temporary, _encoded(document))
    os.rename(temporary, path)  # noqa: PTH104  # see plain_file


def _encoded(document: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(document)
    except UnicodeEncodeError:  # a home in the image's /etc/passwd that is no text: written as escapes
        return json.dumps(document).encode()
