"""actr doctor: each thing that can be wrong is named with its remedy, and nothing else is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cli.doctor.facts import Facts, Space, gather
from cli.doctor.judge import judge
from cli.session import Session

GIB = 1 << 30
HEALTHY = Facts(
    kernel="6.1.0-18-amd64",
    controllers=frozenset({"cpu,cpuacct", "memory", "pids", "cpuset"}),
    cgroups="v1",
    filesystems=frozenset({"ext4", "overlay"}),
    programs={"runc": "runc version 1.1.5", "nft": "nftables v1.0.6", "criu": "Version: 3.17"},
    user_namespaces=1000,
    open_files=1 << 20,
    spaces=(Space("/var/lib/actord", "ext4", 50 * GIB, 100 * GIB, 900, 1000),),
    now=1_800_000_000.0,
    synchronised=True,
    daemon={"version": "0.1.0", "runtime": "runc"},
    actors=({"name": "metadata", "state": "running", "restarts": 0},),
)
SPACE = HEALTHY.spaces[0]


def test_a_healthy_machine_has_nothing_to_be_done():
    assert [one for one in judge(HEALTHY) if one.level != "ok" or one.fix] == []


@pytest.mark.parametrize(
    ("wrong", "subject", "level", "remedy"),
    [
        ({"uid": 1000}, "permissions", "error", "sudo"),
        ({"lacks": "it is root without CAP_NET_ADMIN"}, "permissions", "error", "--privileged"),
        ({"kernel": "4.19.0"}, "kernel", "error", "5.14"),
        ({"kernel": "5.15.0"}, "kernel", "note", "--userns"),
        ({"kernel": "what"}, "kernel", "error", "5.14"),
        ({"controllers": None}, "control groups", "error", "mount -t cgroup2"),
        ({"controllers": frozenset({"cpu", "pids"})}, "control groups", "error", "cgroup_enable=memory"),
        ({"controllers": frozenset({"cpu", "pids", "memory"})}, "control groups", "note", "--cpuset-cpus"),
        ({"is_root_mounted": False}, "root directory", "error", "mount --bind"),
        ({"filesystems": frozenset({"ext4"})}, "overlayfs", "error", "modprobe overlay"),
        ({"programs": {"nft": "x", "criu": "x"}, "daemon": {}}, "runtime", "error", "apt install runc"),
        ({"daemon": {"runtime": "crun"}}, "runtime", "error", "apt install crun"),
        ({"programs": {"runc": "x", "criu": "x"}}, "packet filter", "warning", "nftables"),
        ({"programs": {"runc": "x", "nft": "x"}}, "checkpoints", "note", "criu"),
        ({"open_files": 1024}, "open files", "warning", "LimitNOFILE"),
        ({"user_namespaces": 0}, "user namespaces", "note", "max_user_namespaces"),
        ({"spaces": (replace(SPACE, free=GIB // 2),)}, "space in /var/lib/actord", "warning", "prune"),
        ({"spaces": (replace(SPACE, free_files=10),)}, "space in /var/lib/actord", "warning", "prune"),
        ({"spaces": (replace(SPACE, kind="overlay"),)}, "space in /var/lib/actord", "warning", "native"),
        ({"now": 1.0}, "clock", "error", "timedatectl"),
        ({"synchronised": False}, "clock", "warning", "chrony"),
        ({"unreachable": "no daemon answers"}, "daemon", "error", "systemctl status actord"),
        (
            {"actors": ({"name": "content", "state": "failed", "restarts": 0},)},
            "actor content", "error", "log",
        ),
        (
            {"actors": ({"name": "content", "state": "running", "restarts": 7},)},
            "actor content", "warning", "log",
        ),
    ],
)  # fmt: skip
def test_each_thing_that_is_wrong_has_a_remedy(wrong, subject, level, remedy):
    found = [one for one in judge(replace(HEALTHY, **wrong)) if one.level != "ok"]
    assert [(one.subject, one.level) for one in found] == [(subject, level)]
    assert remedy in found[0].fix


def test_a_small_disk_that_is_half_free_is_well():
    small = replace(SPACE, free=GIB // 2, size=GIB - 1)
    assert [one for one in judge(replace(HEALTHY, spaces=(small,))) if one.level != "ok"] == []


def test_this_machine_is_looked_at_without_a_daemon(tmp_path):
    facts = gather(Session(str(tmp_path / "actord.sock"), "default"))
    assert "no daemon answers" in facts.unreachable
    assert facts.kernel
    assert facts.spaces[1].directory == str(tmp_path)
    assert facts.spaces[1].size > 0
    assert facts.open_files > 0
