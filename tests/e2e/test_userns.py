"""`--userns`: a root that is nobody on the host, with files, volumes, network and cgroup of its own."""

from __future__ import annotations

import io
import socket
import stat
import tarfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from daemon import wait_until
from test_flags import Inside, refused

from actors.runtime.id_ranges import FIRST, SIZE

if TYPE_CHECKING:
    from daemon import Daemon

pytestmark = pytest.mark.root


@pytest.fixture(params=["runc", "crun"])
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def open_daemon(daemon: Daemon) -> Daemon:
    """One whose directories let others through, as those below /run do and temporary ones do not."""
    for directory in (daemon.state, *daemon.state.parents):
        directory.chmod(directory.stat().st_mode | stat.S_IXOTH)
    return daemon


def first_id(inside: Inside) -> int:
    """The first of its ids on the host, read from the kernel."""
    lines = [inside.proc(name).split() for name in ("uid_map", "gid_map")]
    assert lines[0] == lines[1]
    assert lines[0][0] == "0"
    assert lines[0][2] == str(SIZE)
    return int(lines[0][1])


def owner(path: Path) -> tuple[int, int]:
    return path.lstat().st_uid, path.lstat().st_gid


def test_ids_files_limits_and_ports(open_daemon: Daemon, busybox: str, runtime: str):
    null = owner(Path("/dev/null"))
    flags = ("--userns", "auto", "-m", "64m", "--net", "bridge", "--device", "/dev/zero", "--init")
    with Inside(open_daemon, busybox, runtime, *flags) as inside:
        first = first_id(inside)
        assert first >= FIRST
        root = Path(f"/proc/{inside.record['task']['pid']}/root")
        assert inside.status("Uid").split() == [str(first)] * 4
        assert inside.sh(
            "id -u; stat -c %u:%g / /etc/passwd /etc/hosts; echo new > /x; stat -c %u:%g /x"
        ) == ("0\n0:0\n0:0\n0:0\n0:0")
        assert owner(root / "x") == (first, first)
        assert inside.sh(
            "echo 127.0.0.9 nine >> /etc/hosts; echo z > /dev/stdout; head -c1 /dev/zero | wc -c"
        ) == ("z\n1")
        assert inside.cgroup("memory", "memory.limit_in_bytes") == str(64 << 20)
        assert inside.sh("cat /proc/sys/net/ipv4/ping_group_range").split() == ["0", str(SIZE - 1)]
        address = inside.sh("ip -4 -o addr show eth0").split()[3].partition("/")[0]
        open_daemon.actr("exec", "-d", inside.name, "sh", "-c", "echo hello | nc -l -p 80")
        wait_until(
            "somebody listens at port 80",
            lambda: ":0050 " in inside.proc("net/tcp6") + inside.proc("net/tcp"),
        )
        with socket.create_connection((address, 80), timeout=20) as connection:
            assert connection.recv(64) == b"hello\n"
        assert open_daemon.actr("exec", inside.name, "cat").stdout == ""
        open_daemon.kill_actor(f"container/default/{inside.record['id']}")
        wait_until(
            "its actor is back",
            lambda: open_daemon.actr("exec", inside.name, "cat", "/x", check=None).stdout == "new\n",
        )
        open_daemon.actr("restart", "-t", "0", inside.name)
        assert inside.sh("cat /x; stat -c %u:%g /x; cat /proc/self/uid_map").split() == [
            "new",
            "0:0",
            "0",
            str(first),
            str(SIZE),
        ]
    assert owner(Path("/dev/null")) == null, "crun gives standard input away"
    assert list((open_daemon.state / "userns").iterdir()) == []
    assert list((open_daemon.state / "netns").iterdir()) == []


@pytest.mark.parametrize("started", [False, True])
def test_its_files_are_exported_and_committed_as_it_knows_them(
    open_daemon: Daemon, busybox: str, tmp: Path, started: bool
):
    name, image = f"u{uuid.uuid4().hex[:8]}", f"u{uuid.uuid4().hex[:8]}:1"
    open_daemon.actr(
        "create", "--name", name, "--userns", "auto", busybox, "sh", "-c", "echo x >/made; chown 7:8 /made"
    )
    if started:
        open_daemon.actr("start", "-a", name)
    open_daemon.actr("export", "-q", "-o", tmp / "root.tar", name)
    with tarfile.open(tmp / "root.tar") as tar:
        owners = {one.name: (one.uid, one.gid) for one in tar.getmembers()}
    assert owners["bin/busybox"] == (0, 0)
    assert owners.get("made") == ((7, 8) if started else None)
    open_daemon.actr("commit", "-q", "-c", "CMD stat -c %u:%g /bin/busybox", name, image)
    assert open_daemon.actr("run", "--rm", "--userns", "auto", image).stdout == "0:0\n"
    open_daemon.actr("rm", name)
    open_daemon.actr("rmi", image)


def test_volumes_are_shared_by_strangers(open_daemon: Daemon, busybox: str, runtime: str, tmp: Path):
    volume = f"v{uuid.uuid4().hex[:8]}"
    tmp.chmod(0o755)
    (tmp / "given").write_text("from the host")
    flags = ("--userns", "auto", "-v", f"{volume}:/etc", "-v", f"{tmp}:/host", "-v", f"{tmp}:/mine:idmap")
    with (
        Inside(open_daemon, busybox, runtime, *flags) as one,
        Inside(open_daemon, busybox, runtime, "--userns", "auto", "-v", f"{volume}:/v") as other,
    ):
        assert abs(first_id(one) - first_id(other)) >= SIZE
        assert one.sh("echo kept > /etc/kept; chown 7:8 /etc/kept; stat -c %u:%g /etc/passwd") == "0:0"
        assert other.sh(
            "stat -c %u:%g /v/kept /v/passwd; cat /v/kept; echo more >> /v/kept; cat /v/kept"
        ) == ("7:8\n0:0\nkept\nkept\nmore")
        place = open_daemon.root / "volumes/default" / volume / "data"
        assert [owner(place / name) for name in ("kept", "passwd")] == [(7, 8), (0, 0)]
        assert one.sh("stat -c %u /host/given /mine/given; cat /host/given") == "65534\n0\nfrom the host"
        assert (
            "ermission denied" in open_daemon.actr("exec", one.name, "touch", "/host/given", check=1).stderr
        )
        assert one.sh("echo mine > /mine/made; cat /host/made") == "mine"
        assert owner(tmp / "made") == (0, 0)
        (tmp / "few").mkdir()
        (tmp / "few/copied").write_text("copied")
        open_daemon.actr("cp", tmp / "few", f"{other.name}:/v/few")
        assert other.sh("cat /v/few/copied; stat -c :%u:%g /v/few /v/few/copied").split() == [
            "copied:0:0", ":0:0"
        ]  # fmt: skip
        assert [owner(place / name) for name in ("few", "few/copied")] == [(0, 0), (0, 0)]
        packed = open_daemon.popen("cp", f"{one.name}:/etc/kept", "-").communicate()[0]
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            assert [(one.uid, one.gid) for one in tar] == [(7, 8)]
    open_daemon.actr("volume", "rm", volume)
    assert list((open_daemon.state / "shifted").iterdir()) == []


def test_copies_and_images_have_the_ids_that_the_container_knows(
    open_daemon: Daemon, busybox: str, tmp: Path
):
    (tmp / "given").write_text("from the host")
    given = "100000:200000:65536"
    for snapshotter in ("overlayfs", "native"):
        open_daemon.actr("pull", "--snapshotter", snapshotter, busybox)
        how = ("--userns", given, "--snapshotter", snapshotter)
        with Inside(open_daemon, busybox, "runc", *how) as inside:
            assert inside.proc("uid_map").split() == ["0", "100000", "65536"]
            assert inside.proc("gid_map").split() == ["0", "200000", "65536"]
            open_daemon.actr("cp", tmp / "given", f"{inside.name}:/given")
            assert inside.sh("cat /given; echo; stat -c %u:%g /given") == "from the host\n0:0"
            inside.sh("echo x > /made; chown 12:34 /made")
            packed = open_daemon.popen("cp", f"{inside.name}:/made", "-").communicate()[0]
            with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
                assert [(one.uid, one.gid) for one in tar] == [(12, 34)]
            if snapshotter == "native":
                continue
            kinds = {
                (line.split()[1], line.split()[0])
                for line in open_daemon.actr("diff", inside.name).stdout.splitlines()
            }
            assert {("/given", "A"), ("/made", "A")} <= kinds
            assert not any(path.startswith("/bin") for path, _ in kinds)
            open_daemon.actr("commit", inside.name, "committed:1")
        done = open_daemon.actr(
            "run", "--rm", "committed:1", "stat", "-c", "%u:%g", "/made", "/given", "/bin/sh"
        )
        assert done.stdout.split() == ["12:34", "0:0", "0:0"]


def test_ranges_are_given_back_and_terminals_work(open_daemon: Daemon, busybox: str, runtime: str):
    null = owner(Path("/dev/null"))
    ask = ("--rm", "--runtime", runtime, "--userns", "auto")

    def chosen() -> str:
        return open_daemon.actr("run", *ask, busybox, "cat", "/proc/self/uid_map").stdout.split()[1]

    first = chosen()
    # What was taken is given back with the record, which goes behind the back of whoever ran it.
    wait_until("another one has the range of the first", lambda: chosen() == first)
    done = open_daemon.actr("run", "-t", *ask, busybox, "sh", "-c", "stat -c %u $(tty); id -u")
    assert done.stdout.split() == ["0", "0"]
    assert owner(Path("/dev/null")) == null


def test_what_excludes_a_user_namespace_is_refused_by_name(daemon: Daemon, busybox: str):
    for flags, said in (
        (("--userns", "0:0:65536"), "is not auto, host or UID:GID:SIZE"),
        (("--userns", "100000:100000:100"), "is not auto, host or UID:GID:SIZE"),
        (("--userns", "auto", "--pid", "host"), "userns and pid host exclude each other"),
        (("--userns", "auto", "--ipc", "host"), "userns and ipc host exclude each other"),
        (("--userns", "auto", "--net", "host"), "userns and network host exclude each other"),
        (("-v", "/tmp:/y:idmap"), "give that too"),
    ):
        text = refused(daemon, busybox, *flags)
        assert said in text
        assert text.count("\n") == 1
    daemon.directory.chmod(0o700)
    text = refused(daemon, busybox, "--userns", "auto")
    assert f"chmod o+x {daemon.directory}" in text
