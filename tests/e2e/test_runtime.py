"""Specifications that we build, run by the real runc and crun on a root of one static busybox."""

import json
import os
import platform
import shutil
import signal
import sys
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from images import busybox_binary

from actors.linux import cgroup_statistics, cgroup_view, cgroups, mountinfo, netns, pidfd, process, spawn
from actors.runtime import default_spec, oci_runtime, rootfs_check, seccomp, users
from actors.runtime.default_spec import Place
from actors.runtime.errors import InvalidSpecError, RuntimeCommandError
from actors.runtime.oci_runtime import OciRuntime
from actors.runtime.users import Identity
from actors.runtime.wishes import Wishes

pytestmark = pytest.mark.root

PROGRAMS = [
    "sh",
    "cat",
    "grep",
    "id",
    "ls",
    "mount",
    "sleep",
    "touch",
    "true",
    "unshare",
    "mknod",
    "env",
    "pwd",
]
KERNEL = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])
PLACE = ("capabilities", "seccomp", "mounts", "network_path")
IMAGE = {"Env": ["FROM_IMAGE=1"], "Cmd": ["true"], "WorkingDir": "/srv/dir"}


@dataclass
class Ended:
    code: int
    output: str
    error: RuntimeCommandError | None


class Host:
    """One runtime, one bundle, and everything that has to go away afterwards."""

    def __init__(self, program, folder):
        self.layout = cgroups.detect()
        self.prefix = f"actord-test-{uuid.uuid4().hex[:12]}"
        self.bundle = folder / "bundle"
        self.rootfs = self.bundle / "rootfs"
        self.runtime = OciRuntime(program, folder / "state")
        self.log = folder / "log"
        self.output = folder / "output"
        self.pid_file = folder / "pid"
        self.ids = []

    def call(self, work):
        """crun sees only version 1; runc is content with what there is."""
        if self.runtime.program == "crun" and cgroup_view.needs_private_view(cgroups.detect()):
            return cgroup_view.in_private_view(cgroups.detect(), work)
        return work()

    def command(self, argv):
        """Run a command of the runtime to its end: exit code, output, and its error if it logged one."""
        self.log.unlink(missing_ok=True)
        # A file, not a pipe: a detached container keeps its output open after the command has ended.
        with self.output.open("wb") as file:
            pid = self.call(lambda: spawn.spawn(argv, stdout=file.fileno(), stderr=file.fileno()))
            code = process.exit_code(os.waitpid(pid, 0)[1])
        output = self.output.read_text(errors="replace")
        messages = oci_runtime.read_log(self.log)
        verb = argv[argv.index("json") + 1]
        return Ended(code, output, oci_runtime.failure(verb, messages, output.encode()) if messages else None)

    def prepare(self, args, identity=None, image=IMAGE, **options):
        """Write config.json for a new container and give its id."""
        container_id = f"c{len(self.ids)}"
        self.ids.append(container_id)
        capabilities = options.setdefault("capabilities", default_spec.CAPABILITIES)
        options.setdefault("seccomp", seccomp.build(platform.machine(), capabilities, KERNEL))
        settings = {name: options.pop(name) for name in PLACE if name in options}
        place = Place(container_id, "tests", cgroups_path=f"/{self.prefix}/tests/{container_id}", **settings)
        wish = Wishes(args=tuple(args), **options)
        spec = default_spec.build_spec(image, wish, place, identity or Identity(home="/root"))
        rootfs_check.check(self.rootfs, default_spec.mount_destinations(spec))
        check_structure(spec)
        (self.bundle / "config.json").write_text(json.dumps(spec))
        return container_id

    def run(self, *args, **options):
        """In the foreground, so that the runtime's exit code is the container's."""
        container_id = self.prepare(args, **options)
        argv = self.runtime.run(container_id, self.bundle, self.pid_file, self.log)
        argv.remove("--detach")
        return self.command(argv)

    def shell(self, script, **options):
        ended = self.run("sh", "-c", script, **options)
        assert ended.error is None, ended.output
        return ended

    def clean(self):
        for container_id in self.ids:
            self.command(self.runtime.delete(container_id, self.log, force=True))
        self.call(self._remove_cgroups)
        assert list(self.runtime.root.glob("c*")) == []
        assert mountinfo.mounted_below(str(self.bundle.parent)) == []

    def _remove_cgroups(self):
        layout = cgroups.detect()
        for container_id in self.ids:
            cgroups.kill(layout, f"/{self.prefix}/tests/{container_id}")
            cgroups.remove(layout, f"/{self.prefix}/tests/{container_id}")
        for hierarchy in layout.hierarchies:
            for name in ("tests", ""):
                with suppress(FileNotFoundError):
                    (hierarchy / self.prefix / name).rmdir()


def check_structure(spec):
    """The rules of the runtime specification that a wrong builder would break."""
    assert set(spec) == {"ociVersion", "process", "root", "hostname", "mounts", "annotations", "linux"}
    process_, linux = spec["process"], spec["linux"]
    assert process_["args"]
    assert process_["cwd"].startswith("/")
    assert all("=" in entry for entry in process_["env"])
    assert len({entry.partition("=")[0] for entry in process_["env"]}) == len(process_["env"])
    assert {"uid", "gid", "additionalGids"} == set(process_["user"])
    for names in process_["capabilities"].values():
        assert all(name.startswith("CAP_") for name in names)
        assert len(set(names)) == len(names)
    assert set(process_["capabilities"]["effective"]) <= set(process_["capabilities"]["permitted"])
    for mount in spec["mounts"]:
        assert mount["destination"].startswith("/")
        assert mount["type"]
        assert all(isinstance(word, str) and word for word in mount["options"])
    kinds = [entry["type"] for entry in linux["namespaces"]]
    assert len(set(kinds)) == len(kinds)
    assert set(kinds) <= {"pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"}
    assert linux["cgroupsPath"].count("/") == 3
    for path in (*linux["maskedPaths"], *linux["readonlyPaths"]):
        assert path.startswith(("/proc/", "/sys/"))
    for rule in linux["resources"]["devices"]:
        assert set(rule["access"]) <= set("rwm")
    for rule in (linux.get("seccomp") or {"syscalls": []})["syscalls"]:
        assert rule["names"]
        assert rule["action"] in {"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"}
        assert all(argument["index"] < 6 for argument in rule["args"])
    assert json.loads(json.dumps(spec)) == spec


def make_rootfs(rootfs):
    for name in ("bin", "etc", "proc", "sys", "dev", "root", "tmp"):
        (rootfs / name).mkdir(parents=True)
    shutil.copy(busybox_binary(), rootfs / "bin/busybox")
    for name in PROGRAMS:
        (rootfs / "bin" / name).symlink_to("busybox")
    (rootfs / "bin/not-executable").write_text("data")
    (rootfs / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/srv:/bin/sh\n")
    (rootfs / "etc/group").write_text("app:x:1001:\naudio:x:29:app\n")


@pytest.fixture(params=["runc", "crun"])
def host(request, tmp_path):
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    found = Host(request.param, tmp_path)
    make_rootfs(found.rootfs)
    yield found
    found.clean()


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("kill -9 $$", 137)]
)
def test_exit_codes(host, script, code):
    # A process other than the first of its namespace: that one cannot kill itself.
    assert host.shell(f"sh -c '{script}'; exit $?").code == code


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("/bin/missing", 127),
        ("missing", 127),
        ("/bin/not-executable", 126),
        ("/etc", 126),
        ("/bin/sh/x", 127),
    ],
)
def test_a_program_that_cannot_be_started(host, program, code):
    ended = host.run(program)
    assert ended.error is not None
    assert (ended.error.exit_code, ended.error.code) == (code, "invalid_argument")


def test_what_the_kernel_says_inside(host):
    status = dict(line.split(":\t", 1) for line in host.shell("cat /proc/self/status").output.splitlines())
    # Bits of capability.h: chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap,
    # net_bind_service, sys_chroot, setfcap.
    expected = sum(1 << bit for bit in (0, 1, 3, 4, 5, 6, 7, 8, 10, 18, 31))
    for name in ("CapEff", "CapPrm", "CapBnd"):
        assert int(status[name], 16) == expected
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


def test_masked_and_read_only_paths(host):
    mounted = {}
    for line in host.shell("cat /proc/mounts").output.splitlines():
        _, target, kind, options = line.split()[:4]
        mounted[target] = (kind, options.split(","))
    for path in default_spec.READONLY_PATHS:
        assert not Path(path).exists() or "ro" in mounted[path][1]
    for path in default_spec.MASKED_PATHS:
        # Not every kernel has all of them; over a file lies the null device, over a folder an empty tmpfs.
        assert not Path(path).exists() or mounted[path][0] in {"tmpfs", "devtmpfs"}
    assert "ro" in mounted["/sys"][1]
    assert "rw" in mounted["/run"][1]
    script = "exec 2>/dev/null; cat /proc/kcore /proc/keys; ls /sys/firmware; touch /sys/x || echo end"
    assert host.shell(script).output == "end\n"


def test_devices(host):
    output = host.shell(
        "ls /dev; mknod /dev/sda b 8 0 || echo refused; echo x >/dev/full || echo no-space"
    ).output
    assert {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "mqueue"} <= set(
        output.split()
    )
    assert "refused" in output
    assert "no-space" in output


def test_who_where_and_with_what_environment(host):
    identity = users.resolve("app", users.opener(host.rootfs))
    lines = host.shell(
        "id -u; id -g; id -G; pwd; env; cat /proc/self/status", identity=identity
    ).output.splitlines()
    assert lines[:4] == ["1000", "1001", "1001 29", "/srv/dir"]
    assert {"FROM_IMAGE=1", "HOME=/srv", f"PATH={default_spec.DEFAULT_PATH}"} <= set(lines)
    assert "CapEff:\t0000000000000000" in lines


def test_limits_and_a_read_only_root(host):
    script = "cat /proc/self/limits; touch /x; touch /run/ok && echo writable"
    output = host.shell(script, readonly=True, memory=32 << 20, pids_limit=50).output
    (line,) = (line for line in output.splitlines() if line.startswith("Max open files"))
    assert line.split()[3:5] == ["1024", "1024"]
    assert "Read-only file system" in output
    assert "writable" in output


def test_the_profile_stops_namespaces_and_mounts(host):
    output = host.shell("unshare -U true || echo no-user; mount -t tmpfs x /tmp || echo no-mount").output
    assert "no-user" in output
    assert "no-mount" in output
    assert "perm" in output.lower()
    # Without the profile the same container may make a user namespace: it is the profile that stops it.
    assert "no-user" not in host.shell("unshare -U true || echo no-user", seccomp=None).output


PROBE = """
import ctypes, errno, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    result = libc.syscall(*map(ctypes.c_long, arguments))
    return errno.errorcode[ctypes.get_errno()] if result < 0 else "done"
numbers = %s
print("alg", call(numbers["socket"], 38, 5, 0))
print("vsock", call(numbers["socket"], 40, 1, 0))
print("upper", call(numbers["socket"], (1 << 32) | 40, 1, 0))
print("inet", call(numbers["socket"], 2, 1, 0))
print("unix", call(numbers["socket"], 1, 1, 0))
print("packet", call(numbers["socket"], 17, 3, 0))
print("clone3", call(435, 0, 0))
print("keyctl", call(numbers["keyctl"], 0, -3, 0))
print("bpf", call(numbers["bpf"], 0, 0, 0))
print("newuser", call(numbers["unshare"], 0x10000000))
print("newtime", call(numbers["unshare"], 0x80))
print("files", call(numbers["unshare"], 0x400))
print("clone", call(numbers["clone"], 0x10000000 | 17, 0, 0, 0, 0))
print("future", call(999))
import threading, subprocess
thread = threading.Thread(target=print, args=("thread", "works"))
thread.start(); thread.join()
print("child", subprocess.run(["/bin/true"]).returncode)
"""
NUMBERS = {
    "x86_64": {"socket": 41, "clone": 56, "keyctl": 250, "unshare": 272, "bpf": 321},
    "aarch64": {"socket": 198, "clone": 220, "keyctl": 219, "unshare": 97, "bpf": 280},
}


def test_the_profile_call_by_call(host):
    """A Python of the host, shown read-only to the container, makes the calls one by one."""
    shown = [path for path in (sys.base_prefix, "/usr", "/lib", "/lib64") if Path(path).exists()]
    binds = tuple(
        {"destination": path, "type": "bind", "source": path, "options": ["rbind", "ro"]}
        for path in dict.fromkeys(shown)
    )
    code = PROBE % NUMBERS[platform.machine()]
    program = str(Path(sys.base_prefix) / "bin/python3")
    ended = host.run(program, "-I", "-c", code, mounts=binds)
    assert ended.code == 0, ended.output
    assert dict(line.split() for line in ended.output.splitlines()) == {
        "alg": "EAFNOSUPPORT",
        "vsock": "EAFNOSUPPORT",
        "upper": "ENOSYS",
        "inet": "done",
        "unix": "done",
        "packet": "EPERM",
        "clone3": "ENOSYS",
        "keyctl": "EPERM",
        "bpf": "EPERM",
        "newuser": "EPERM",
        "newtime": "EPERM",
        "files": "done",
        "clone": "EPERM",
        "future": "ENOSYS",
        "thread": "works",
        "child": "0",
    }


def test_a_prepared_network(host, tmp_path):
    path = tmp_path / "net"
    netns.create(path)
    try:
        inode = path.stat().st_ino
        assert (
            host.shell("ls -l /proc/self/ns/net", network_path=str(path))
            .output.strip()
            .endswith(f"net:[{inode}]")
        )
    finally:
        netns.remove(path)


@pytest.fixture
def subreaper():
    process.set_child_subreaper()
    yield
    process.set_child_subreaper(on=False)
    while (stray := process.peek_children()) is not None:
        process.reap(stray[0])


def test_a_life_from_create_to_delete(host, subreaper):
    container_id = host.prepare(["sleep", "600"])
    runtime, log = host.runtime, host.log
    assert host.command(runtime.create(container_id, host.bundle, host.pid_file, log)).code == 0
    pid = int(host.pid_file.read_text())
    init = pidfd.Process.of(pid)
    assert pidfd.parent(pid) == os.getpid()
    state = oci_runtime.parse_state(host.command(runtime.state(container_id, log)).output.encode())
    assert state == oci_runtime.State("created", pid, str(host.bundle))
    assert oci_runtime.recorded_init(runtime.root, container_id) == (init.pid, init.start_time)
    path = f"/{host.prefix}/tests/{container_id}"
    assert pid in host.call(lambda: cgroups.processes(cgroups.detect(), path))

    assert host.command(runtime.start(container_id, log)).code == 0
    assert host.command(runtime.start(container_id, log)).error.code == "failed_precondition"
    again = host.command(runtime.create(container_id, host.bundle, host.pid_file, log))
    assert again.error.code == "already_exists"
    assert host.command(runtime.delete(container_id, log)).error.code == "failed_precondition"
    assert cgroup_statistics.statistics(host.layout, path).cpu_nanoseconds is not None

    assert host.command(runtime.pause(container_id, log)).code == 0
    paused = host.command(runtime.state(container_id, log)).output.encode()
    assert oci_runtime.parse_state(paused).status == "paused"
    assert host.command(runtime.resume(container_id, log)).code == 0

    host.command(runtime.kill(container_id, signal.SIGKILL, log))
    assert process.exit_code(os.waitpid(pid, 0)[1]) == 137
    stopped = host.command(runtime.state(container_id, log)).output.encode()
    assert oci_runtime.parse_state(stopped) == oci_runtime.State("stopped", None, str(host.bundle))
    late = host.command(runtime.kill(container_id, signal.SIGTERM, log))
    assert late.error.code == "not_found", late
    assert host.command(runtime.delete(container_id, log)).code == 0
    assert host.command(runtime.delete(container_id, log)).error.code == "not_found"


def test_a_second_process_and_its_failures(host, subreaper, tmp_path):
    container_id = host.prepare(["sleep", "600"])
    runtime, log = host.runtime, host.log
    assert host.command(runtime.run(container_id, host.bundle, host.pid_file, log)).code == 0
    init = int(host.pid_file.read_text())
    template = json.loads((host.bundle / "config.json").read_text())["process"]
    wanted, second_pid = tmp_path / "process.json", tmp_path / "second"

    wanted.write_text(json.dumps({**template, "args": ["sh", "-c", "exit 9"]}))
    assert host.command(runtime.exec(container_id, wanted, second_pid, log)).code == 0
    assert process.exit_code(os.waitpid(int(second_pid.read_text()), 0)[1]) == 9

    for program, code in (("missing", 127), ("/bin/not-executable", 126)):
        wanted.write_text(json.dumps({**template, "args": [program]}))
        assert host.command(runtime.exec(container_id, wanted, second_pid, log)).error.exit_code == code

    os.kill(init, signal.SIGKILL)
    # crun leaves what it forked for a failed exec to the subreaper; the init stays until that is reaped.
    while os.waitpid(-1, 0)[0] != init:
        pass
    late = host.command(runtime.exec(container_id, wanted, second_pid, log))
    assert late.error.code == "failed_precondition"


def test_verbs_on_a_container_that_is_not_there(host):
    runtime, log = host.runtime, host.log
    missing = [
        runtime.state("c9", log),
        runtime.start("c9", log),
        runtime.kill("c9", 9, log),
        runtime.delete("c9", log),
    ]
    for argv in missing:
        assert host.command(argv).error.code == "not_found"
    assert host.command(runtime.delete("c9", log, force=True)).code == 0


def test_a_root_that_leads_outside_never_reaches_the_runtime(host, tmp_path):
    (tmp_path / "canary").mkdir()
    (host.rootfs / "dev").rmdir()
    (host.rootfs / "dev").symlink_to(tmp_path / "canary")
    with pytest.raises(InvalidSpecError, match=r"^/dev of the root"):
        host.prepare(["true"])
    assert list((tmp_path / "canary").iterdir()) == []


def test_a_linked_mount_target_stays_inside(host, tmp_path):
    """Why rootfs_check lets such a link pass: both runtimes resolve it within the root."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (host.rootfs / "etc/resolv.conf").symlink_to(outside / "made-by-the-runtime")
    (tmp_path / "source").write_text("nameserver 192.0.2.1\n")
    bind = {
        "destination": "/etc/resolv.conf",
        "type": "bind",
        "source": str(tmp_path / "source"),
        "options": ["bind"],
    }
    assert host.shell("cat /etc/resolv.conf", mounts=(bind,)).output == "nameserver 192.0.2.1\n"
    assert list(outside.iterdir()) == []
