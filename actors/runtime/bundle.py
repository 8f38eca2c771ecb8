"""A bundle: what the OCI runtime is given, made from a container's record and its image.

Everything here can be done again after a crash: directories may exist, mounts are replaced, files are
written whole. The layout of a bundle directory is the constants below.
"""

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from actors.linux import mounts
from actors.messages import BundlesMake
from actors.runtime import name_files, rootfs_check, seccomp, users
from actors.runtime.default_spec import CAPABILITIES, RunOptions, build_spec, mount_destinations
from actors.runtime.errors import InvalidSpecError
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
LOCK = "lock"
PIPES = "pipes"
PID_FILE = "pid"
RUNTIME_LOG = "runtime.log"
EXECS = "execs"
MAX_CONFIG = 8 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the caller of `containers.create` may put into `options`. Empty means: as the image says."""

    args: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    cwd: str = ""
    user: str = ""
    hostname: str = ""
    readonly: bool = False
    platform: str = ""
    network: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Image:
    """What of an image concerns a container: where its layers end, and its configuration."""

    chain_id: str
    config: Mapping[str, Any]
    stop_signal: str


def wishes(options: Mapping[str, Any]) -> Wishes:
    """Read the options of a record. Raises InvalidSpecError for an unknown or malformed one."""
    unknown = set(options) - set(Wishes.__dataclass_fields__)
    if unknown:
        raise InvalidSpecError(f"unknown option {', '.join(sorted(unknown))}")
    try:
        return msgspec.convert(options, Wishes)
    except msgspec.ValidationError as error:
        raise InvalidSpecError(f"option: {error}") from error


def find_image(content: Path, digest: str, wanted: str) -> Image:
    """Read manifest and configuration from the content store, for the host's platform unless one is named.

    `digest` is what the container was created from, whatever the image's name points at by now.

    Raises:
        StorageError: a document is missing or malformed.
    """
    store = ContentStore(content)

    def read(descriptor: Descriptor) -> bytes:
        return store.read(descriptor.digest, MAX_DOCUMENT_SIZE)

    suits = parse_platform(wanted) if wanted else host_platform()
    root = Digest.parse(digest)
    _, manifest = find_manifest(Descriptor("", root, store.info(root).size), suits, read)
    raw = store.read(manifest.config.digest, MAX_CONFIG)
    config = parse_config(raw, manifest.config.media_type)
    chain = chain_ids(config.diff_ids)
    return Image(
        chain_id=str(chain[-1]) if chain else "",
        config=json.loads(raw).get("config") or {},
        stop_signal=config.stop_signal,
    )


def mount_rootfs(bundle: Path, how: list[dict[str, Any]]) -> None:
    """Mount the snapshot at `rootfs`, in place of whatever a crash left there."""
    rootfs = bundle / ROOTFS
    rootfs.mkdir(parents=True, exist_ok=True)
    unmount_rootfs(bundle)
    values = [
        mounts.Mount(
            type=one["type"],
            source=one["source"],
            options=tuple(one["options"]),
            base=one.get("base") or None,
        )
        for one in how
    ]
    mounts.mount_all(values, str(rootfs))


def unmount_rootfs(bundle: Path) -> None:
    """Unmount what is mounted at `rootfs`, however often."""
    mounts.umount_below(str(bundle / ROOTFS))


def write_spec(bundle: Path, record: BundlesMake, image: Image, network: Mapping[str, Any]) -> None:
    """Check the root, look the user up, write config.json. `network` is what `network.attach` answered.

    Raises:
        ContainerError: the root would lead the runtime astray, or options or image make no sense.
    """
    wish = wishes(record.options)
    identity = _identity(bundle, wish.user or str(image.config.get("User") or ""))
    options = RunOptions(
        container_id=record.id[:12],
        namespace=record.namespace,
        image=record.image,
        args=wish.args,
        entrypoint=wish.entrypoint,
        env=wish.env,
        cwd=wish.cwd,
        hostname=wish.hostname,
        readonly=wish.readonly,
        network_path=network["path"],
        host_network=not network["path"],
        mounts=tuple(name_files.write(bundle, network, wish.hostname or record.id[:12])),
        seccomp=_filter(),
    )
    spec = build_spec(image.config, options, identity)
    spec["linux"]["cgroupsPath"] = cgroups_path(record.namespace, record.id)
    rootfs_check.check(bundle / ROOTFS, mount_destinations(spec))
    _write(bundle / CONFIG, spec)


def write_process(bundle: Path, directory: Path, wish: Wishes) -> Path:
    """The `process` object of an exec, from that of the container and what the caller wants otherwise."""
    process: dict[str, Any] = json.loads((bundle / CONFIG).read_bytes())["process"]
    process["args"] = list(wish.args)
    process["terminal"] = False
    process["cwd"] = wish.cwd or process["cwd"]
    process["env"] = [*process["env"], *wish.env]
    if wish.user:
        identity = _identity(bundle, wish.user)
        user = {"uid": identity.uid, "gid": identity.gid, "additionalGids": list(identity.additional_gids)}
        process["user"] = user
    path = directory / "process.json"
    _write(path, process)
    return path


def cgroups_path(namespace: str, container: str) -> str:
    """Where a container's cgroup is in each hierarchy."""
    return f"/actord/{namespace}/{container}"


def _identity(bundle: Path, user: str) -> users.Identity:
    return users.resolve(user, users.opener(bundle / ROOTFS))


def _filter() -> Mapping[str, Any]:
    major, minor = platform.release().split(".")[:2]
    return seccomp.build(platform.machine(), CAPABILITIES, (int(major), int(minor)))


def _write(path: Path, document: Mapping[str, Any]) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(document))
    temporary.rename(path)
