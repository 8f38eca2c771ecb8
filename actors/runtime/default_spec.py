"""From an image's configuration and a caller's wishes to an OCI runtime specification: the safe default.

Pure: the user has been looked up (users.py), paths are only written down. What the image says is checked
here, since it comes from strangers; what the caller says is checked only for what a runtime would misread.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from actors.runtime import devices, mount_plan, namespaces, resources
from actors.runtime.capabilities import CAPABILITIES
from actors.runtime.devices import Node
from actors.runtime.errors import InvalidSpecError
from actors.runtime.users import Identity
from actors.runtime.wishes import Wishes

ImageConfig = Mapping[str, Any]
"""The `config` object of an image configuration (image-spec config.md); empty when the image has none."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

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

_HOSTNAME_BYTES = 64
_MOST_STRINGS = 4096

HOOKS = frozenset(["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"])


@dataclass(frozen=True, slots=True)
class Place:
    """Where a container runs: what was looked up or made before its specification is written.

    `network_path` is a namespace file; without it the container gets an empty namespace of its own, unless
    `host_network`; `user_path` is that of the user namespace it belongs to. `seccomp` is a `linux.seccomp`
    object, None for no filter. `mounts` are OCI mount objects, placed after the defaults. `annotations` are
    the image's.
    """

    container_id: str
    namespace: str
    image: str = ""
    rootfs: str = "rootfs"
    cgroups_path: str = ""
    network_path: str = ""
    user_path: str = ""
    host_network: bool = False
    capabilities: tuple[str, ...] = CAPABILITIES
    seccomp: Mapping[str, Any] | None = None
    mounts: tuple[Mapping[str, Any], ...] = ()
    devices: tuple[Node, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)


def build_spec(config: ImageConfig, wish: Wishes, place: Place, identity: Identity) -> dict[str, Any]:
    """The config.json of a container (runtime-spec 1.0.2).

    Raises:
        InvalidSpecError: there is nothing to run, or what image or caller say is malformed.
    """
    spec = {
        "ociVersion": "1.0.2",
        "process": _process(config, wish, place, identity),
        "root": {"path": place.rootfs, "readonly": wish.readonly},
        "mounts": mount_plan.planned(wish, [dict(mount) for mount in place.mounts]),
        "annotations": {**place.annotations, **wish.annotations},
        "linux": _linux(wish, place),
    }
    if wish.uts != "host":
        spec["hostname"] = (wish.hostname or place.container_id)[:_HOSTNAME_BYTES]
    elif wish.hostname:
        raise InvalidSpecError("a host name of its own cannot be had with the host's uts namespace")
    if wish.hooks:
        spec["hooks"] = _hooks(wish.hooks)
    return spec


def mount_destinations(spec: Mapping[str, Any]) -> list[str]:
    """Where a specification mounts, for rootfs_check."""
    return [str(mount["destination"]) for mount in spec.get("mounts") or ()]


def _process(config: ImageConfig, wish: Wishes, place: Place, identity: Identity) -> dict[str, Any]:
    words = arguments(config, wish, place.image)
    process: dict[str, Any] = {
        "terminal": wish.terminal,
        "user": {
            "uid": identity.uid,
            "gid": identity.gid,
            "additionalGids": list(identity.additional_gids),
        },
        "args": [mount_plan.INIT, "--", *words] if wish.init else words,
        "env": environment(config, wish, identity),
        "cwd": _working_directory(config, wish),
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), sorted(place.capabilities)),
        "rlimits": resources.rlimits(wish.ulimits),
        "noNewPrivileges": wish.no_new_privileges and not wish.privileged,
    }
    if wish.terminal and wish.console_size is not None:
        process["consoleSize"] = dict(zip(("height", "width"), wish.console_size, strict=True))
    if wish.oom_score_adj is not None:
        process["oomScoreAdj"] = wish.oom_score_adj
    return process


def _hooks(hooks: Mapping[str, Any]) -> dict[str, Any]:
    """The caller's hooks; a runtime would pass over a stage that it does not know."""
    unknown = sorted(set(hooks) - HOOKS)
    if unknown:
        raise InvalidSpecError(f"hook {unknown[0][:64]!r} is none of {', '.join(sorted(HOOKS))}")
    for stage, entries in hooks.items():
        for entry in entries:
            path = entry.get("path")
            if not isinstance(path, str) or not path.startswith("/"):
                raise InvalidSpecError(f"hook {stage}: path {path!r} is not absolute")
    return dict(hooks)


def _strings(config: ImageConfig, key: str) -> list[str]:
    """A list of strings of the configuration; absent and null are empty (Docker writes null)."""
    found = config.get(key) or []
    if not isinstance(found, list) or len(found) > _MOST_STRINGS:
        raise InvalidSpecError(f"the image's {key} is not a list of at most {_MOST_STRINGS} strings")
    if any(not isinstance(item, str) or "\0" in item for item in found):
        raise InvalidSpecError(f"the image's {key} holds something that is not text")
    return found


def arguments(config: ImageConfig, wish: Wishes, image: str = "") -> list[str]:
    """What to execute: entrypoint and command.

    The caller's args take the place of the image's Cmd. The caller's entrypoint takes the place of the
    image's, whose Cmd was meant for that one and goes with it.

    Raises:
        InvalidSpecError: both are empty.
    """
    if wish.entrypoint is not None:
        found = [*wish.entrypoint, *wish.args]
    else:
        found = [*_strings(config, "Entrypoint"), *(wish.args or _strings(config, "Cmd"))]
    if not found or not found[0]:
        name = image or "the image"
        raise InvalidSpecError(f"image {name} names no program to run: give one after the container's id")
    if any("\0" in word for word in found):
        raise InvalidSpecError("an argument holds a zero byte")
    return found


def environment(config: ImageConfig, wish: Wishes, identity: Identity) -> list[str]:
    """The image's variables, the caller's over them, and what programs expect where neither has set it.

    Raises:
        InvalidSpecError: an entry is not NAME=value.
    """
    found: dict[str, str] = {}
    for entry in (*_strings(config, "Env"), *wish.env):
        name, equals, value = entry.partition("=")
        if not name or not equals or "\0" in entry:
            raise InvalidSpecError(f"environment entry {entry[:64]!r} is not of the form NAME=value")
        found[name] = value
    found.setdefault("PATH", DEFAULT_PATH)
    found.setdefault("HOME", identity.home)
    if wish.terminal:
        found.setdefault("TERM", "xterm")
    return [f"{name}={value}" for name, value in found.items()]


def _working_directory(config: ImageConfig, wish: Wishes) -> str:
    found = wish.cwd or config.get("WorkingDir") or "/"
    if not isinstance(found, str) or not found.startswith("/") or "\0" in found:
        raise InvalidSpecError(f"working directory {str(found)[:64]!r} is not an absolute path")
    return found


def _linux(wish: Wishes, place: Place) -> dict[str, Any]:
    linux: dict[str, Any] = {
        "namespaces": list(
            namespaces.listed(
                wish, place.network_path, host_network=place.host_network, user_path=place.user_path
            )
        ),
        "cgroupsPath": place.cgroups_path or f"/actord/{place.namespace}/{place.container_id}",
        "resources": {
            "devices": devices.rules(place.devices, everything=wish.privileged),
            **resources.resources(wish),
        },
        **namespaces.id_mappings(wish.userns),
    }
    if not wish.privileged:
        linux |= {"maskedPaths": list(MASKED_PATHS), "readonlyPaths": list(READONLY_PATHS)}
    if place.devices:
        linux["devices"] = devices.nodes(place.devices)
    sysctls = namespaces.sysctls(wish, host_network=place.host_network)
    if sysctls:
        linux["sysctl"] = sysctls
    if place.seccomp is not None:
        linux["seccomp"] = dict(place.seccomp)
    return linux
