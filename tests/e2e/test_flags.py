"""Every flag of `run`, with both runtimes: its value is read inside the container, or from the kernel.

Several flags share a container, since each start costs. docs/execution.md says which test shows which flag.
"""

from __future__ import annotations

import json
import os
import socket
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest
from daemon import wait_until
from runtime_schema import violations

from actors.linux import cgroups

if TYPE_CHECKING:
    from daemon import Daemon

pytestmark = pytest.mark.root


@pytest.fixture(params=["runc", "crun"])
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Inside:
    """A container that sleeps, and what is seen in it."""

    def __init__(self, daemon: Daemon, busybox: str, runtime: str, *flags: str) -> None:
        self.daemon, self.name = daemon, f"f{uuid.uuid4().hex[:8]}"
        daemon.actr("run", "-d", "--name", self.name, "--runtime", runtime, *flags, busybox, "sleep", "300")
        self.record = daemon.json("inspect", self.name)
        bundle = daemon.state / "containers/default" / self.record["id"]
        self.spec = json.loads((bundle / "config.json").read_text())
        assert violations(self.spec) == []
        wait_until("the runtime's init is the program", lambda: "sleep" in self.proc("cmdline"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.daemon.actr("rm", "-f", self.name)

    def sh(self, script: str) -> str:
        return self.daemon.actr("exec", self.name, "sh", "-c", script).stdout.strip()

    def proc(self, file: str) -> str:
        """A file of its first process, as the host sees it."""
        return Path(f"/proc/{self.record['task']['pid']}/{file}").read_text()

    def status(self, key: str) -> str:
        return next(
            line.split(":", 1)[1] for line in self.proc("status").splitlines() if line.startswith(key)
        ).strip()

    def cgroup(self, controller: str, file: str, parent: str = "actord") -> str:
        top = cgroups.detect().controllers[controller]
        return (top / parent / "default" / self.record["id"] / file).read_text().strip()


def refused(daemon: Daemon, busybox: str, *flags: str) -> str:
    """What is said when these flags are refused; nothing may be left of the container."""
    name = f"r{uuid.uuid4().hex[:8]}"
    done = daemon.actr("run", "--name", name, *flags, busybox, "true", check=None)
    assert done.returncode in (2, 125), done.stderr
    assert name not in daemon.actr("ps", "-a", "--names").stdout
    return done.stderr


LIMITS_BOTH = {("cpuset", "cpuset.cpus"): "0", ("cpuset", "cpuset.mems"): "0", ("pids", "pids.max"): "50"}
LIMITS_V1 = {
    ("memory", "memory.limit_in_bytes"): str(64 << 20),
    ("memory", "memory.memsw.limit_in_bytes"): str(96 << 20),
    ("memory", "memory.soft_limit_in_bytes"): str(32 << 20),
    ("cpu", "cpu.cfs_quota_us"): "50000",
    ("cpu", "cpu.cfs_period_us"): "100000",
    ("cpu", "cpu.shares"): "300",
    **LIMITS_BOTH,
}
LIMITS_V2 = {
    ("memory", "memory.max"): str(64 << 20),
    ("memory", "memory.swap.max"): str(32 << 20),  # without what is not swap
    ("memory", "memory.low"): str(32 << 20),
    ("cpu", "cpu.max"): "50000 100000",
    ("cpu", "cpu.weight"): "12",  # runc's and crun's 1 + (shares - 2) * 9999 / 262142
    **LIMITS_BOTH,
}


def test_limits(daemon: Daemon, busybox: str, runtime: str):
    flags = ("-m", "64m", "--memory-swap", "96m", "--memory-reservation", "32m", "--cpus", "0.5", "-c", "300",
             "--cpuset-cpus", "0", "--cpuset-mems", "0", "--pids-limit", "50",
             "--ulimit", "nofile=77:88", "--ulimit", "core=0", "--oom-score-adj", "321", "--shm-size", "3m",
             "--cgroup-parent", "/actord-test-parent")  # fmt: skip
    is_v2 = cgroups.detect().kind is cgroups.Kind.V2
    weight = ("--blkio-weight", "300")
    if runtime == "crun" and not is_v2:  # crun 1.8.1 knows that of a scheduler which is gone, and says so
        assert "blkio.weight" in refused(daemon, busybox, "--runtime", "crun", *weight)
        weight = ()
    with Inside(daemon, busybox, runtime, *flags, *weight) as inside:
        expected = LIMITS_V2 if is_v2 else LIMITS_V1
        if weight and not is_v2:  # with v2 there is a file only where the disk's scheduler has weights
            expected = expected | {("blkio", "blkio.bfq.weight"): "300"}
        found = {key: inside.cgroup(*key, parent="actord-test-parent") for key in expected}
        assert found == expected
        limits = inside.proc("limits")
        assert [line.split()[3:5] for line in limits.splitlines() if "open files" in line] == [["77", "88"]]
        assert [line.split()[4:6] for line in limits.splitlines() if "core file" in line] == [["0", "0"]]
        assert inside.proc("oom_score_adj").strip() == "321"
        assert inside.sh("df -k /dev/shm | tail -1").split()[1] == "3072"
    with pytest.raises(FileNotFoundError):
        inside.cgroup("memory", "cgroup.procs", parent="actord-test-parent")


def test_privileges(daemon: Daemon, busybox: str, runtime: str):
    flags = (
        "--cap-add", "NET_RAW", "--cap-drop", "CHOWN", "--device", "/dev/zero:/dev/nought:r",
        "--sysctl", "net.ipv4.ip_default_ttl=77", "--sysctl", "kernel.shmmax=1234567", "--group-add", "7",
        "--group-add", "1234", "-u", "12:34", "--annotation", "a.b=c", "-l", "x=y", "--hostname", "box",
        "--stop-signal", "USR1", "-w", "/tmp/new", "-e", "ONE=1", "--read-only", "--tmpfs", "/tmp",
    )  # fmt: skip
    with Inside(daemon, busybox, runtime, *flags) as inside:
        mask = int(inside.status("CapBnd"), 16)
        assert mask >> 13 & 1, "NET_RAW"
        assert not mask & 1, "CHOWN"
        assert inside.status("NoNewPrivs") == "1"
        assert inside.status("Seccomp") == "2"
        assert inside.status("Uid").split() == ["12"] * 4
        assert inside.status("Gid").split() == ["34"] * 4
        assert sorted(inside.status("Groups").split()) == ["1234", "34", "7"]
        assert inside.sh("cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/shmmax") == "77\n1234567"
        assert inside.sh("ls -l /dev/nought").split()[4:6] == ["1,", "5"]
        assert inside.sh("hostname; pwd; echo $ONE") == "box\n/tmp/new\n1"
        assert (
            "Read-only file system" in inside.daemon.actr("exec", inside.name, "touch", "/x", check=1).stderr
        )
        assert inside.spec["annotations"]["a.b"] == "c"
        assert inside.record["labels"] == {"x": "y"}
        assert sorted(inside.sh("ls /proc/self/fd").split()) == ["0", "1", "2", "3"], "3 is ls's own"
        inside.daemon.actr("stop", "-t", "1", inside.name)  # sleep has no handler: as pid 1 it ignores USR1?
        assert inside.daemon.json("inspect", inside.name)["task"]["exit_code"] in (137, 128 + 10)


def test_files_of_variables_entrypoints_and_pulls(daemon: Daemon, busybox: str, runtime: str, tmp: Path):
    (tmp / "env").write_text("# of a file\nONE=1\nTWO=2\n")
    flags = (
        "--rm",
        "--runtime",
        runtime,
        "--env-file",
        str(tmp / "env"),
        "-e",
        "TWO=3",
        "--platform",
        "linux/amd64",
    )
    done = daemon.actr(
        "run", *flags, "--entrypoint", "/bin/sh", "--pull", "never", busybox, "-c", "echo $ONE$TWO"
    )
    assert done.stdout == "13\n"
    words = ("run", "-d", "--cidfile", str(tmp / "cid"), "--runtime", runtime, busybox, "true")
    assert daemon.actr(*words).stdout.strip() == (tmp / "cid").read_text()
    assert "is there already" in daemon.actr(*words, check=2).stderr
    daemon.actr("rm", "-f", (tmp / "cid").read_text())
    other = f"{busybox}-nothing"
    assert "not found" in daemon.actr("run", "--pull", "never", other, "true", check=125).stderr
    assert daemon.actr("run", *flags, "--pull", "always", busybox, "echo", "pulled").stdout.endswith(
        "pulled\n"
    )


def test_privileged_and_unconfined(daemon: Daemon, busybox: str, runtime: str, tmp: Path):
    own = next(
        line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "CapBnd" in line
    )
    with Inside(daemon, busybox, runtime, "--privileged") as inside:
        assert inside.status("CapEff") == own
        assert inside.status("Seccomp") == "0"
        assert inside.status("NoNewPrivs") == "0"
        assert inside.sh("mkdir /m && mount -t tmpfs x /m && echo mounted") == "mounted"
        assert inside.sh("test -c /dev/kmsg && head -c0 /dev/kmsg && echo there") == "there"
    profile = tmp / "profile.json"
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    options = ("--security-opt", f"seccomp={profile}", "--security-opt", "no-new-privileges=false")
    with Inside(daemon, busybox, runtime, *options) as inside:
        assert inside.status("NoNewPrivs") == "0"
        done = inside.daemon.actr("exec", inside.name, "mkdir", "/d", check=1)
        assert "Operation not permitted" in done.stderr
    with Inside(daemon, busybox, runtime, "--security-opt", "seccomp=unconfined") as inside:
        assert inside.status("Seccomp") == "0"


def test_mounts_and_volumes(daemon: Daemon, busybox: str, runtime: str, tmp: Path):
    (tmp / "given").write_text("from the host")
    volume = f"v{uuid.uuid4().hex[:8]}"
    flags = ("-v", f"{tmp}:/host:ro", "-v", f"{volume}:/etc", "--tmpfs", "/mem:size=2m,mode=700",
             "--mount", f"type=bind,source={tmp},target=/rw", "-v", "/own")  # fmt: skip
    with Inside(daemon, busybox, runtime, *flags) as inside:
        assert inside.sh("cat /host/given; echo; ls /etc/passwd") == "from the host\n/etc/passwd"
        assert "Read-only" in daemon.actr("exec", inside.name, "touch", "/host/x", check=1).stderr
        assert (
            inside.sh(
                "echo back > /rw/made; echo kept > /etc/kept; echo y > /own/y; df -k /mem | tail -1"
            ).split()[1]
            == "2048"
        )
        assert (tmp / "made").read_text() == "back\n"
        assert daemon.json("volume", "inspect", volume)[0]["used_by"] == [inside.name]
        assert f"is used by container {inside.name}" in daemon.actr("volume", "rm", volume, check=1).stderr
        owned = [one for one in daemon.json("volume", "ls") if one["owner"] == inside.record["id"]]
        assert len(owned) == 1
    names = [one["name"] for one in daemon.json("volume", "ls")]
    assert volume in names
    assert owned[0]["name"] not in names, "a volume of its own goes with the container"
    with Inside(
        daemon, busybox, runtime, "--mount", f"type=volume,source={volume},target=/again,ro"
    ) as inside:
        assert inside.sh("cat /again/kept") == "kept"
    daemon.actr("volume", "rm", volume)
    assert daemon.actr("volume", "create", "-l", "a=b", "kept").stdout == "kept\n"
    daemon.kill_actor("volumes")
    wait_until("volumes are back", lambda: daemon.actr("volume", "ls", "-q", check=None).stdout == "kept\n")
    assert "kept" in daemon.actr("volume", "prune").stdout


def test_shared_namespaces_and_init(daemon: Daemon, busybox: str, runtime: str):
    flags = ("--pid", "host", "--ipc", "host", "--uts", "host")
    with Inside(daemon, busybox, runtime, *flags) as inside:
        for name in ("pid", "ipc", "uts"):
            ours, its = Path(f"/proc/self/ns/{name}"), Path(f"/proc/{inside.record['task']['pid']}/ns/{name}")
            assert ours.readlink() == its.readlink()
        assert inside.sh("hostname") == socket.gethostname()
    with Inside(daemon, busybox, runtime, "--init") as inside:
        assert inside.proc("comm").strip().startswith("actord-init")
        inside.sh("(sleep 0.1 &)")  # an orphan
        wait_until("init has reaped", lambda: " Z" not in inside.sh("ps -o stat,comm"))
        daemon.actr("stop", "-t", "20", inside.name)
        assert daemon.json("inspect", inside.name)["task"]["exit_code"] == 143, "init passes the signal on"


def test_a_raw_bundle_hooks_and_what_would_be_run(daemon: Daemon, busybox: str, runtime: str, tmp: Path):
    spec = json.loads(daemon.actr("spec", "-m", "64m", busybox, "sh", "-c", "cat /marker; exit 9").stdout)
    assert violations(spec) == []
    dry = json.loads(daemon.actr("run", "--dry-run", "-m", "64m", busybox, "true").stdout)
    assert dry["linux"]["resources"]["memory"]["limit"] == 64 << 20
    assert daemon.actr("ps", "-aq").stdout == ""
    assert list((daemon.state / "dry").glob("*/*")) == []
    # The bundle's root is the image's, taken from a running container.
    with Inside(daemon, busybox, runtime) as inside:
        root = tmp / "bundle/root"
        root.mkdir(parents=True)
        os.system(f"cp -a /proc/{inside.record['task']['pid']}/root/bin {root}/")  # noqa: S605
    for name in ("proc", "dev", "sys", "run", "etc"):
        (root / name).mkdir()
    (root / "marker").write_text("raw\n")
    spec["root"] = {"path": "root"}
    spec["linux"]["namespaces"] = [{"type": one} for one in ("pid", "ipc", "uts", "mount", "network")]
    spec["mounts"] = [one for one in spec["mounts"] if one["type"] != "bind"]
    spec["hooks"] = {
        stage: [{"path": "/bin/sh", "args": ["sh", "-c", f"cat > {tmp}/{stage}"]}]
        for stage in ("prestart", "createRuntime", "poststart", "poststop")
    }
    (tmp / "bundle/config.json").write_text(json.dumps(spec))
    done = daemon.actr("run", "--rm", "--runtime", runtime, "--bundle", str(tmp / "bundle"), check=9)
    assert done.stdout == "raw\n"
    for stage in spec["hooks"]:
        assert json.loads((tmp / stage).read_text())["id"], stage
    spec["domainname"] = "x"
    (tmp / "bundle/config.json").write_text(json.dumps(spec))
    done = daemon.actr("run", "--runtime", runtime, "--bundle", str(tmp / "bundle"), check=125)
    assert "domainname is not enforced" in done.stderr


REFUSED: list[tuple[tuple[str, ...], str]] = [
    (("-m", "1k"), "memory is 1024: it must be at least 6291456"),
    (("--memory-swap", "1g"), "memory swap is the sum"),
    (("--cap-add", "NOSUCH"), "capability 'NOSUCH' is not one that there is"),
    (("--ulimit", "nosuch=1"), "ulimit 'nosuch' is none of"),
    (("--ulimit", "nofile=9:8"), "above the hard limit"),
    (("--sysctl", "kernel.panic=1"), "does not belong to a namespace"),
    (("--uts", "host", "--sysctl", "kernel.hostname=x"), "does not belong to a namespace"),
    (("--device", "/etc/passwd"), "is not a device of this host"),
    (("-v", "../x:/y"), "write the whole path"),
    (("-v", "a:/x/../../y"), "is not an absolute path below /"),
    (("-v", "/nonexistent/source:/y"), "is not there: make it first"),
    (("--mount", "type=volume,source=a/../b,target=/y"), "volume name"),
    (("-v", "/tmp:/y:nosuchoption"), "option 'nosuchoption' is not known"),
    (("-v", "/tmp:/y", "--tmpfs", "/y"), "two mounts have the target /y"),
    (("--cgroup-parent", "/a/../b"), "free of .."),
    (("-u", str(2**31)), "is not between 0 and"),
    (("-u", str(2**32)), "is not between 0 and"),
    (("-u", "-1"), "is not between 0 and"),
    (("--group-add", "nosuchgroup"), "is not in the container's /etc/group"),
    (("--restart", "sometimes"), "--restart is one of"),
    (("--rm", "--restart", "always"), "exclude each other"),
    (("--oom-score-adj", "2000"), "oom score adjustment is 2000"),
    (("--hooks", "/dev/null"), "is not JSON"),
]


@pytest.mark.parametrize(
    ("flags", "said"), REFUSED, ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else ""
)
def test_what_makes_no_sense_is_refused_by_name(
    daemon: Daemon, busybox: str, flags: tuple[str, ...], said: str
):
    text = refused(daemon, busybox, *flags)
    assert said in text
    assert text.count("\n") == 1, "one line"
