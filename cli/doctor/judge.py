"""What the facts mean for actord, and what to do about it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from cli.doctor.facts import Facts, Space

Level = Literal["ok", "note", "warning", "error"]
NEEDED_KERNEL, FULL_KERNEL = (5, 14), (5, 19)
NEEDED_CONTROLLERS = ("cpu", "memory", "pids")
WANTED_CONTROLLERS = ("cpuset",)
MANY_FILES = 65536
LITTLE_SPACE = 1 << 30  # bytes
LITTLE_SHARE = 0.05
RELEASED = 1_790_000_000.0  # seconds since the epoch; a clock before it is wrong
NO_UPPER = ("overlay", "nfs", "nfs4", "vfat", "fuse", "9p", "ecryptfs")  # overlayfs takes none of these
OFTEN_RESTARTED = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: `error` keeps something from working; a `warning` may; a `note` is about something optional.
        fix: the next command or step; empty when all is well.
    """

    subject: str
    level: Level
    found: str
    fix: str = ""


def judge(facts: Facts) -> list[Finding]:
    """Everything in the order in which one would look."""
    return [
        _permissions(facts),
        _kernel(facts),
        *_root_directory(facts),
        *_control_groups(facts),
        _overlay(facts),
        *_runtimes(facts),
        *_tools(facts),
        _open_files(facts),
        _user_namespaces(facts),
        *(finding for space in facts.spaces for finding in _space(space)),
        _clock(facts),
        *_daemon(facts),
    ]


def _permissions(facts: Facts) -> Finding:
    if facts.lacks:
        fix = "start actord as the host's root, or with all capabilities: docker run --privileged"
        return Finding("permissions", "error", facts.lacks, fix)
    if facts.uid == 0:
        return Finding("permissions", "ok", "root")
    return Finding(
        "permissions", "error", f"user {facts.uid}", "run actord and actr as root: sudo actr doctor"
    )


def _kernel(facts: Facts) -> Finding:
    found = re.match(r"(\d+)\.(\d+)", facts.kernel)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if version < NEEDED_KERNEL:
        return Finding(
            "kernel",
            "error",
            facts.kernel,
            "use Linux 5.14 or later: pidfds, openat2 and cgroup.kill are needed",
        )
    if version < FULL_KERNEL:
        return Finding(
            "kernel", "note", facts.kernel, "--userns needs Linux 5.19: overlayfs on mapped mounts"
        )
    return Finding("kernel", "ok", facts.kernel)


def _root_directory(facts: Facts) -> Iterator[Finding]:
    if not facts.is_root_mounted:
        fix = "before chroot DIR: mount --bind DIR DIR"
        yield Finding("root directory", "error", "/ is no mount point: runtimes cannot leave it", fix)


def _control_groups(facts: Facts) -> Iterator[Finding]:
    if facts.controllers is None:
        yield Finding(
            "control groups", "error", "none are mounted", "mount -t cgroup2 cgroup2 /sys/fs/cgroup"
        )
        return
    names = {name for entry in facts.controllers for name in entry.split(",")}
    missing = [name for name in NEEDED_CONTROLLERS if name not in names]
    if missing:
        text = f"{facts.cgroups}, without {', '.join(missing)}"
        yield Finding(
            "control groups", "error", text, "enable them: cgroup_enable=memory on the kernel's command line"
        )
        return
    lacking = [name for name in WANTED_CONTROLLERS if name not in names]
    level: Level = "note" if lacking else "ok"
    text = f"{facts.cgroups}, without {', '.join(lacking)}" if lacking else facts.cgroups
    yield Finding(
        "control groups",
        level,
        text,
        f"options such as --{lacking[0]}-cpus will be refused" if lacking else "",
    )


def _overlay(facts: Facts) -> Finding:
    if "overlay" in facts.filesystems:
        return Finding("overlayfs", "ok", "the kernel has it")
    fix = 'modprobe overlay, or choose copies: [snapshots] default = "native" in actord.toml'
    return Finding("overlayfs", "error", "the kernel does not have it, or its module is not loaded", fix)


def _runtimes(facts: Facts) -> Iterator[Finding]:
    found = [facts.programs[name] for name in ("runc", "crun") if name in facts.programs]
    if found:
        yield Finding("runtime", "ok", "; ".join(found))
    else:
        yield Finding("runtime", "error", "neither runc nor crun is installed", "apt install runc (or crun)")
    chosen = facts.daemon.get("runtime", "")
    if chosen in ("runc", "crun") and chosen not in facts.programs:
        fix = f"apt install {chosen}, or set [runtime] name in actord.toml"
        yield Finding("runtime", "error", f"the daemon uses {chosen}, which is not installed", fix)


def _tools(facts: Facts) -> Iterator[Finding]:
    if "nft" in facts.programs:
        yield Finding("packet filter", "ok", facts.programs["nft"])
    else:
        fix = "apt install nftables: bridges, NAT and published ports need it"
        yield Finding("packet filter", "warning", "nft is not installed", fix)
    if "criu" not in facts.programs:
        yield Finding("checkpoints", "note", "criu is not installed", "apt install criu, for actr checkpoint")


def _open_files(facts: Facts) -> Finding:
    if facts.open_files >= MANY_FILES:
        return Finding("open files", "ok", f"at most {facts.open_files}")
    fix = "raise it: LimitNOFILE=1048576 in the unit (etc/actord.service has it), or ulimit -n"
    return Finding(
        "open files", "warning", f"at most {facts.open_files}: too few for hundreds of containers", fix
    )


def _user_namespaces(facts: Facts) -> Finding:
    if facts.user_namespaces:
        return Finding("user namespaces", "ok", f"at most {facts.user_namespaces}")
    return Finding(
        "user namespaces", "note", "none are allowed", "sysctl user.max_user_namespaces=65536, for --userns"
    )


def _space(space: Space) -> Iterator[Finding]:
    subject = f"space in {space.directory}"
    text = f"{_gibibytes(space.free)} of {_gibibytes(space.size)} free, {space.kind}"
    if space.free < min(LITTLE_SPACE, space.size // 2) or space.free < space.size * LITTLE_SHARE:
        yield Finding(subject, "warning", text, "free some: actr system df, actr system prune")
    elif space.files and space.free_files < space.files * LITTLE_SHARE:
        yield Finding(
            subject, "warning", f"{space.free_files} of {space.files} inodes free", "actr system prune"
        )
    else:
        yield Finding(subject, "ok", text)
    if space.kind in NO_UPPER and not space.directory.startswith("/run"):
        fix = 'use another directory, or copies: [snapshots] default = "native" in actord.toml'
        yield Finding(subject, "warning", f"overlayfs cannot write on {space.kind}", fix)


def _clock(facts: Facts) -> Finding:
    if facts.now < RELEASED:
        return Finding(
            "clock",
            "error",
            "it is before this version was made",
            "set it: timedatectl set-time, chronyc makestep",
        )
    if facts.synchronised is False:
        return Finding(
            "clock",
            "warning",
            "nothing keeps it right",
            "apt install chrony: certificates and expiry need the time",
        )
    return Finding("clock", "ok", "synchronised" if facts.synchronised else "plausible")


def _daemon(facts: Facts) -> Iterator[Finding]:
    if facts.unreachable:
        yield Finding("daemon", "error", facts.unreachable, "systemctl status actord; journalctl -u actord")
        return
    text = f"{facts.daemon.get('version')}, {len(facts.actors)} actors"
    yield Finding("daemon", "ok", text)
    for one in facts.actors:
        if one["state"] not in ("running", "asleep"):
            fix = "its log says why: journalctl -u actord, or the daemon's standard error"
            yield Finding(f"actor {one['name']}", "error", one["state"], fix)
        elif one["restarts"] >= OFTEN_RESTARTED:
            fix = "its log says why; it has lost nothing"
            yield Finding(f"actor {one['name']}", "warning", f"restarted {one['restarts']} times", fix)


def _gibibytes(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB"
