"""The profile as data; what it does to a program is tested in a real container (e2e/test_runtime.py)."""

import ctypes
import errno
import json
from pathlib import Path

import pytest

from actors.runtime import seccomp
from actors.runtime.capabilities import CAPABILITIES
from actors.runtime.errors import InvalidSpecError

KERNEL = (6, 1)
DANGEROUS = [
    *("add_key", "bpf", "delete_module", "finit_module", "fsconfig"),
    *("fsmount", "fsopen", "init_module", "io_uring_setup", "kexec_file_load"),
    *("kexec_load", "keyctl", "mount", "mount_setattr", "move_mount"),
    *("open_by_handle_at", "open_tree", "perf_event_open", "pivot_root", "reboot"),
    *("request_key", "setns", "sethostname", "settimeofday", "swapoff"),
    *("swapon", "umount2", "userfaultfd"),
]
ORDINARY = [
    *("accept4", "bind", "brk", "clock_gettime", "close"),
    *("connect", "dup2", "epoll_wait", "execve", "exit_group"),
    *("faccessat2", "fchmodat2", "fork", "fstat", "futex"),
    *("getdents64", "getrandom", "ioctl", "kill", "listen"),
    *("mmap", "mprotect", "nanosleep", "newfstatat", "openat"),
    *("openat2", "pidfd_open", "pipe2", "poll", "prctl"),
    *("pread64", "prlimit64", "read", "recvmsg", "rename"),
    *("rseq", "rt_sigaction", "sendmsg", "setgroups", "setuid"),
    *("socketpair", "statx", "unlink", "vfork", "wait4"),
    *("write",),
]


def rules(profile, name):
    return [rule for rule in profile["syscalls"] if name in rule["names"]]


def build(*extra, kernel=KERNEL, machine="x86_64"):
    return seccomp.build(machine, [*CAPABILITIES, *extra], kernel)


@pytest.mark.parametrize("name", DANGEROUS)
def test_what_is_dangerous_fails_with_a_clear_error(name):
    (rule,) = rules(build(), name)
    assert (rule["action"], rule["errnoRet"], rule["args"]) == ("SCMP_ACT_ERRNO", errno.EPERM, [])


@pytest.mark.parametrize("name", ORDINARY)
def test_what_ordinary_programs_need_is_allowed(name):
    (rule,) = rules(build(), name)
    assert (rule["action"], rule["args"]) == ("SCMP_ACT_ALLOW", [])


def test_what_only_other_machines_have_is_left_out_and_nothing_else():
    profile = json.loads(Path(seccomp.__file__).with_name("seccomp.json").read_bytes())
    everywhere = {name for rule in build(machine="aarch64")["syscalls"] for name in rule["names"]}
    here = {name for rule in build()["syscalls"] for name in rule["names"]}
    assert everywhere - here == set(profile["elsewhere"]["x86_64"])
    library = ctypes.CDLL("libseccomp.so.2")  # what runc and crun ask
    numbers = [
        library.seccomp_syscall_resolve_name_arch(0xC000003E, name.encode()) for name in everywhere - here
    ]
    assert numbers  # SCMP_ARCH_X86_64 above; below 0: no such call there
    assert max(numbers) < 0


def test_the_rest_looks_as_if_the_kernel_had_it_not():
    profile = build()
    assert (profile["defaultAction"], profile["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", errno.ENOSYS)
    assert rules(profile, "clone3") == []


def test_a_capability_brings_the_calls_it_is_for():
    profile = build("CAP_SYS_ADMIN")
    for name in ("mount", "unshare", "clone", "clone3", "setns"):
        (rule,) = rules(profile, name)
        assert rule["action"] == "SCMP_ACT_ALLOW"
    assert rules(profile, "init_module")[0]["action"] == "SCMP_ACT_ERRNO"
    assert rules(build("CAP_SYS_MODULE"), "init_module")[0]["action"] == "SCMP_ACT_ALLOW"
    assert rules(profile, "keyctl")[0]["action"] == "SCMP_ACT_ERRNO"


@pytest.mark.parametrize(("kernel", "action"), [((4, 7), "ERRNO"), ((4, 8), "ALLOW"), ((6, 0), "ALLOW")])
def test_ptrace_is_for_kernels_where_it_cannot_undo_the_filter(kernel, action):
    (rule,) = rules(build(kernel=kernel), "ptrace")
    assert rule["action"] == f"SCMP_ACT_{action}"


def test_new_namespaces_are_told_by_their_flags():
    mask = 0x7E020000
    allowed = [rule for rule in rules(build(), "clone") if rule["action"] == "SCMP_ACT_ALLOW"]
    assert [rule["args"] for rule in allowed] == [
        [{"index": 0, "value": mask, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]
    ]
    refused = [rule for rule in rules(build(), "unshare") if rule["action"] == "SCMP_ACT_ERRNO"]
    bits = 0
    for rule in refused:
        bits |= rule["args"][0]["valueTwo"]
    assert bits == mask | 0x80


def test_only_socket_families_below_the_dangerous_ones():
    profile = build()
    first = profile["syscalls"][0]
    # Before anything for sockets, see seccomp.py.
    assert (first["names"], first["action"]) == (["socketcall"], "SCMP_ACT_ERRNO")
    (allowed,) = (rule for rule in rules(profile, "socket") if rule["action"] == "SCMP_ACT_ALLOW")
    assert allowed["args"][0] | {"index": 0} == {"index": 0, "op": "SCMP_CMP_LT", "value": 38, "valueTwo": 0}


def test_no_call_is_both_allowed_and_refused_without_a_condition():
    for extra in ((), ("CAP_SYS_ADMIN",), ("CAP_SYS_PTRACE", "CAP_BPF")):
        plain = [rule for rule in build(*extra)["syscalls"] if not rule["args"]]
        names = [name for rule in plain for name in rule["names"]]
        assert len(names) == len(set(names))


def test_the_lists_are_sorted_and_apart():
    profile = json.loads(Path(seccomp.__file__).with_name("seccomp.json").read_bytes())
    lists = [profile["allowed"], profile["refused"], *profile["allowed_with_capability"].values()]
    assert all(names == sorted(set(names)) for names in lists)
    assert not set(profile["allowed"]) & set(profile["refused"])
    assert not any(set(names) & set(profile["allowed"]) for names in lists[2:])


def test_architectures():
    assert build()["architectures"] == ["SCMP_ARCH_X86_64"]
    assert build(machine="aarch64")["architectures"] == ["SCMP_ARCH_AARCH64"]
    with pytest.raises(InvalidSpecError, match="'riscv64'"):
        build(machine="riscv64")
