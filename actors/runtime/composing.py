"""From a container's record, its image and the host to a specification: looks up what the pure parts need.

Nothing here changes anything: `spec` may be asked for a container that is only thought of (`--dry-run`).
"""

import os
import platform
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from actors.linux import cgroups
from actors.runtime import (
    capabilities,
    devices,
    id_ranges,
    mount_plan,
    name_files,
    namespaces,
    resources,
    rootfs_check,
    seccomp,
    users,
)
from actors.runtime.bundle import ROOTFS, Image, cgroups_path
from actors.runtime.default_spec import Place, build_spec, mount_destinations
from actors.runtime.errors import InvalidSpecError
from actors.runtime.wishes import HealthWish, MountWish, Wishes

INIT_PROGRAM = "tini-static"  # Debian's tini: it needs nothing of the container's root

_OWN_STATUS = Path("/proc/self/status")
_MOST_VOLUMES = 64
_NANOSECONDS = 10**9
_PROFILE_KEYS = frozenset(
    [
        "defaultAction",
        "defaultErrnoRet",
        "architectures",
        "flags",
        "listenerPath",
        "listenerMetadata",
        "syscalls",
    ]
)
_RULE_KEYS = frozenset(["names", "action", "errnoRet", "args"])


def compose(
    bundle: Path,
    record: Any,
    wish: Wishes,
    image: Image,
    network: Mapping[str, Any],
    sources: Mapping[str, str],
    whose: users.Identity | None = None,
) -> dict[str, Any]:
    """The specification of a container whose root is mounted in `bundle`.

    `record` has namespace, id and image; `network` is what `network.attach` answered; `sources` are the
    host's paths of its volumes, by target; `whose` is what `identity` gives, if that has been asked for.

    Raises:
        ContainerError: the root would lead the runtime astray, or options or image make no sense, or this
            host cannot do what is asked for.
    """
    namespaces.refuse_sharing(wish)
    refuse_unenforceable(wish)
    chosen = capabilities.chosen(
        wish.cap_add, wish.cap_drop, privileged=wish.privileged, ours=_own_capabilities()
    )
    place = Place(
        container_id=record.id[:12],
        namespace=record.namespace,
        image=record.image,
        cgroups_path=cgroups_path(record.namespace, record.id, cgroup_parent(wish)),
        network_path=network["path"],
        user_path=network.get("userns", ""),
        host_network=not network["path"],
        capabilities=chosen,
        seccomp=_filter(wish, chosen),
        mounts=(*_names(bundle, record, wish, network), *_mounts(wish, image.config, sources)),
        devices=_devices(wish),
        annotations=image.annotations,
    )
    spec = build_spec(image.config, wish, place, whose or identity(bundle / ROOTFS, wish, image.config))
    rootfs_check.check(bundle / ROOTFS, mount_destinations(spec))
    return spec


def cgroup_parent(wish: Wishes) -> str:
    """The caller's parent of cgroups. Raises InvalidSpecError."""
    parent = wish.cgroup_parent
    is_path = parent.startswith("/") and ".." not in parent.split("/") and "\0" not in parent
    if parent and not (is_path and parent.strip("/")):
        raise InvalidSpecError(f"cgroup parent {parent[:256]!r} is not of the form /name, free of ..")
    return parent


def refuse_unenforceable(wish: Wishes) -> None:
    """Refuse a limit that this host's cgroups cannot enforce. Raises InvalidSpecError."""
    layout = cgroups.mounted()
    resources.refuse_unenforceable(
        wish,
        v2=layout.kind is cgroups.Kind.V2,
        has_file=lambda controller, name: cgroups.has_file(layout, controller, name),
    )


def all_mounts(wish: Wishes, config: Mapping[str, Any]) -> list[MountWish]:
    """The caller's mounts, and the volumes that the image declares where the caller mounts nothing.

    Raises:
        InvalidSpecError: the image's volumes are malformed or too many.
    """
    declared = config.get("Volumes") or {}
    if not isinstance(declared, Mapping) or len(declared) > _MOST_VOLUMES:
        raise InvalidSpecError(f"the image's Volumes is not an object of at most {_MOST_VOLUMES} paths")
    taken = {os.path.normpath(one.target) for one in wish.mounts}
    for target in declared:
        mount_plan.check_target(str(target))
    return [
        *wish.mounts,
        *(MountWish("volume", target) for target in declared if os.path.normpath(target) not in taken),
    ]


def idmapped(wish: Wishes) -> dict[str, str]:
    """The host's paths to show with shifted owners, by target. Raises InvalidSpecError."""
    return {one.target: _source(one) for one in wish.mounts if one.type == "bind" and "idmap" in one.options}


def _mounts(wish: Wishes, config: Mapping[str, Any], sources: Mapping[str, str]) -> list[mount_plan.Mount]:
    found = [
        mount_plan.caller_mount(one, sources.get(one.target) or _source(one))
        for one in all_mounts(wish, config)
    ]
    return [mount_plan.init_mount(_init_program()), *found] if wish.init else found


def _names(
    bundle: Path, record: Any, wish: Wishes, network: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    """The files of /etc that say who is who, less those in whose place the caller mounts something."""
    taken = {one.target for one in wish.mounts}
    ids = id_ranges.parse(wish.userns)
    owner = (ids.uid, ids.gid) if ids else (0, 0)
    for mount in name_files.write(bundle, network, wish.hostname or record.id[:12], owner):
        if mount["destination"] not in taken:
            yield mount


def _source(wish: MountWish) -> str:
    """What is bound from the host; it must be there, since making it would be guessing what it is."""
    if wish.type != "bind":
        return ""
    if not wish.source.startswith("/") or ".." in wish.source.split("/"):
        raise InvalidSpecError(f"mount source {wish.source[:256]!r} is not absolute and free of ..")
    if not Path(wish.source).exists():
        raise InvalidSpecError(f"mount source {wish.source} is not there: make it first, or name a volume")
    return wish.source


def _init_program() -> str:
    found = shutil.which(INIT_PROGRAM)
    if found is None:
        raise InvalidSpecError(f"--init needs {INIT_PROGRAM}, which is not installed: it is in Debian's tini")
    return found


def _devices(wish: Wishes) -> tuple[devices.Node, ...]:
    named = tuple(devices.look_up(one) for one in wish.devices)
    if not wish.privileged:
        return named
    paths = {node.path for node in named}
    return (*named, *(node for node in devices.all_of_host() if node.path not in paths))


def identity(rootfs: Path, wish: Wishes, config: Mapping[str, Any]) -> users.Identity:
    """Who it runs as, by the files of its root. Raises InvalidSpecError."""
    opener = users.opener(rootfs)
    found = users.resolve(wish.user or str(config.get("User") or ""), opener)
    extra = users.group_ids(wish.groups, opener)
    return replace(found, additional_gids=tuple(dict.fromkeys((*found.additional_gids, *extra))))


def _own_capabilities() -> frozenset[str]:
    """What this daemon may pass on: its bounding set, less than all where it is itself contained."""
    found = re.search(r"^CapBnd:\s*([0-9a-f]+)$", _OWN_STATUS.read_text(), re.MULTILINE)
    return capabilities.of_mask(int(found[1], 16)) if found else frozenset()


def _filter(wish: Wishes, chosen: Sequence[str]) -> Mapping[str, Any] | None:
    if isinstance(wish.seccomp, dict):
        return _own_profile(wish.seccomp)
    if wish.seccomp not in ("", "unconfined"):
        raise InvalidSpecError(f"seccomp {wish.seccomp[:64]!r} is neither a profile nor unconfined")
    if wish.seccomp == "unconfined" or wish.privileged:
        return None
    major, minor = platform.release().split(".")[:2]
    return seccomp.build(platform.machine(), chosen, (int(major), int(minor)))


def _own_profile(profile: Mapping[str, Any]) -> Mapping[str, Any]:
    """The caller's `linux.seccomp`. An unknown key would be passed over by the runtime, and be a hole."""
    entries = profile.get("syscalls") or []
    rules = [set(rule) for rule in entries if isinstance(rule, Mapping)]
    unknown = sorted((set(profile) - _PROFILE_KEYS).union(*(rule - _RULE_KEYS for rule in rules)))
    if unknown:
        raise InvalidSpecError(
            f"seccomp profile: key {unknown[0][:64]!r} is not one of the runtime-spec's linux.seccomp"
        )
    if not isinstance(profile.get("defaultAction"), str):
        raise InvalidSpecError("seccomp profile: defaultAction is missing")
    return profile


def health_of(wish: Wishes, config: Mapping[str, Any]) -> HealthWish | None:
    """How health is looked at: as the caller says, else as the image does (Docker's Healthcheck).

    An empty `test` of the caller takes the image's, with the caller's times; `NONE` means not at all.
    """
    image = _image_health(config.get("Healthcheck"))
    found = wish.health
    if found is None or found.test == ():
        found = image if found is None or image is None else replace(found, test=image.test)
    return None if found is None or found.test[:1] in ((), ("NONE",)) else found


def _image_health(check: object) -> HealthWish | None:
    if not isinstance(check, Mapping):
        return None
    test = check.get("Test")
    if not isinstance(test, list) or not test or not all(isinstance(word, str) for word in test):
        return None
    words = ("/bin/sh", "-c", *test[1:]) if test[0] == "CMD-SHELL" else tuple(test[test[0] == "CMD" :])
    times = {
        field: value / _NANOSECONDS
        for field, key in (("interval", "Interval"), ("timeout", "Timeout"), ("start_period", "StartPeriod"))
        if isinstance(value := check.get(key), int) and value > 0
    }
    retries = check.get("Retries")
    return HealthWish(words, retries=retries if isinstance(retries, int) and retries > 0 else 3, **times)
