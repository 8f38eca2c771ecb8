"""From an image's configuration and a caller's wishes to an OCI runtime specification: the safe default.

Pure: the user has been looked up (users.py), paths are only written down. What the image says is checked
here, since it comes from strangers; what the caller says is checked only for what a runtime would misread.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from actors.runtime.errors import InvalidSpecError
from actors.runtime.users import Identity

ImageConfig = Mapping[str, Any]
"""The `config` object of an image configuration (image-spec config.md); empty when the image has none."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# containerd's default set less MKNOD, NET_RAW and AUDIT_WRITE: device nodes are denied anyway, ping works
# through the sysctl below, and the audit log belongs to the host.
CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
)
MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_PING_WITHOUT_CAPABILITY = {"net.ipv4.ping_group_range": "0 2147483647"}
_OPEN_FILES = 1024
_CPU_PERIOD = 100_000  # microseconds
_HOSTNAME_BYTES = 64
_MOST_STRINGS = 4096

# Null, zero, full, random, urandom, tty, console, ptmx, and the pseudo terminals.
_DEVICES: tuple[tuple[int, int | None], ...] = (
    *((1, minor) for minor in (3, 5, 7, 8, 9)),
    *((5, minor) for minor in (0, 1, 2)),
    (136, None),
)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the caller of `run` decides. Empty and None mean: as the image says, else the default.

    `network_path` is a namespace file; without it the container gets an empty namespace of its own, unless
    `host_network`. `cpus` counts processors, `memory_bytes` and `pids_limit` are hard limits. `seccomp` is a
    `linux.seccomp` object, None for no filter. `mounts` are OCI mount objects, placed after the defaults.
    """

    container_id: str
    namespace: str
    image: str = ""
    args: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    cwd: str = ""
    hostname: str = ""
    terminal: bool = False
    readonly: bool = False
    rootfs: str = "rootfs"
    cgroup_prefix: str = "actord"
    network_path: str = ""
    host_network: bool = False
    capabilities: tuple[str, ...] = CAPABILITIES
    seccomp: Mapping[str, Any] | None = None
    memory_bytes: int | None = None
    cpus: float | None = None
    pids_limit: int | None = None
    mounts: tuple[Mapping[str, Any], ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)


def build_spec(config: ImageConfig, options: RunOptions, identity: Identity) -> dict[str, Any]:
    """The config.json of a container (runtime-spec 1.0.2).

    Raises:
        InvalidSpecError: there is nothing to run, or the image's configuration is malformed.
    """
    return {
        "ociVersion": "1.0.2",
        "process": _process(config, options, identity),
        "root": {"path": options.rootfs, "readonly": options.readonly},
        "hostname": (options.hostname or options.container_id)[:_HOSTNAME_BYTES],
        "mounts": [*_default_mounts(), *(dict(mount) for mount in options.mounts)],
        "annotations": dict(options.annotations),
        "linux": _linux(options),
    }


def mount_destinations(spec: Mapping[str, Any]) -> list[str]:
    """Where a specification mounts, for rootfs_check."""
    return [str(mount["destination"]) for mount in spec.get("mounts") or ()]


def _process(config: ImageConfig, options: RunOptions, identity: Identity) -> dict[str, Any]:
    capabilities = sorted(options.capabilities)
    return {
        "terminal": options.terminal,
        "user": {
            "uid": identity.uid,
            "gid": identity.gid,
            "additionalGids": list(identity.additional_gids),
        },
        "args": arguments(config, options),
        "env": environment(config, options, identity),
        "cwd": _working_directory(config, options),
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": _OPEN_FILES, "soft": _OPEN_FILES}],
        "noNewPrivileges": True,
    }


def _strings(config: ImageConfig, key: str) -> list[str]:
    """A list of strings of the configuration; absent and null are empty (Docker writes null)."""
    found = config.get(key) or []
    if not isinstance(found, list) or len(found) > _MOST_STRINGS:
        raise InvalidSpecError(f"the image's {key} is not a list of at most {_MOST_STRINGS} strings")
    if any(not isinstance(item, str) or "\0" in item for item in found):
        raise InvalidSpecError(f"the image's {key} holds something that is not text")
    return found


def arguments(config: ImageConfig, options: RunOptions) -> list[str]:
    """What to execute: entrypoint and command.

    The caller's args take the place of the image's Cmd. The caller's entrypoint takes the place of the
    image's, whose Cmd was meant for that one and goes with it.

    Raises:
        InvalidSpecError: both are empty.
    """
    if options.entrypoint is not None:
        found = [*options.entrypoint, *options.args]
    else:
        found = [*_strings(config, "Entrypoint"), *(options.args or _strings(config, "Cmd"))]
    if not found or not found[0]:
        name = options.image or "the image"
        raise InvalidSpecError(f"image {name} names no program to run: give one after the container's id")
    if any("\0" in word for word in found):
        raise InvalidSpecError("an argument holds a zero byte")
    return found


def environment(config: ImageConfig, options: RunOptions, identity: Identity) -> list[str]:
    """The image's variables, the caller's over them, and what programs expect where neither has set it.

    Raises:
        InvalidSpecError: an entry is not NAME=value.
    """
    found: dict[str, str] = {}
    for entry in (*_strings(config, "Env"), *options.env):
        name, equals, value = entry.partition("=")
        if not name or not equals or "\0" in entry:
            raise InvalidSpecError(f"environment entry {entry[:64]!r} is not of the form NAME=value")
        found[name] = value
    found.setdefault("PATH", DEFAULT_PATH)
    found.setdefault("HOME", identity.home)
    if options.terminal:
        found.setdefault("TERM", "xterm")
    return [f"{name}={value}" for name, value in found.items()]


def _working_directory(config: ImageConfig, options: RunOptions) -> str:
    found = options.cwd or config.get("WorkingDir") or "/"
    if not isinstance(found, str) or not found.startswith("/") or "\0" in found:
        raise InvalidSpecError(f"working directory {str(found)[:64]!r} is not an absolute path")
    return found


def _mount(destination: str, fstype: str, source: str, options: str) -> dict[str, Any]:
    return {"destination": destination, "type": fstype, "source": source, "options": options.split(",")}


def _default_mounts() -> list[dict[str, Any]]:
    return [
        _mount("/proc", "proc", "proc", "nosuid,noexec,nodev"),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
        _mount("/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
        _mount("/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k"),  # noqa: S108  (its place)
        _mount("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
        _mount("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
        _mount("/run", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
    ]


def _linux(options: RunOptions) -> dict[str, Any]:
    linux: dict[str, Any] = {
        "namespaces": list(_namespaces(options)),
        "cgroupsPath": f"/{options.cgroup_prefix}/{options.namespace}/{options.container_id}",
        "resources": _resources(options),
        "maskedPaths": list(MASKED_PATHS),
        "readonlyPaths": list(READONLY_PATHS),
    }
    if not options.host_network:
        linux["sysctl"] = dict(_PING_WITHOUT_CAPABILITY)
    if options.seccomp is not None:
        linux["seccomp"] = dict(options.seccomp)
    return linux


def _namespaces(options: RunOptions) -> Iterable[dict[str, str]]:
    yield from ({"type": name} for name in ("pid", "ipc", "uts", "mount"))
    if options.network_path:
        yield {"type": "network", "path": options.network_path}
    elif not options.host_network:
        yield {"type": "network"}


def _resources(options: RunOptions) -> dict[str, Any]:
    rules: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    for major, minor in _DEVICES:
        rule = {"allow": True, "type": "c", "major": major, "access": "rwm"}
        rules.append(rule if minor is None else {**rule, "minor": minor})
    resources: dict[str, Any] = {"devices": rules}
    if options.memory_bytes is not None:
        resources["memory"] = {"limit": options.memory_bytes}
    if options.cpus is not None:
        resources["cpu"] = {"period": _CPU_PERIOD, "quota": max(1000, round(options.cpus * _CPU_PERIOD))}
    if options.pids_limit is not None:
        resources["pids"] = {"limit": options.pids_limit}
    return resources
