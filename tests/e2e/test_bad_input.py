"""What goes wrong is said in one line that names the thing; nothing is left behind."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import images
import pytest
from daemon import CHECKOUT, running, wait_until

from actors.zygote.main import TOO_NEW
from storage import databases

if TYPE_CHECKING:
    from daemon import Daemon

pytestmark = pytest.mark.root


def _left(daemon: Daemon) -> tuple[list[str], list[str]]:
    def below(directory: Path) -> list[str]:
        return sorted(str(path) for path in directory.glob("*/*"))

    return below(daemon.state / "containers"), below(daemon.root / "logs")


def _one_line(text: str) -> str:
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    return text


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        (["no-such-program"], 127, "no-such-program"),
        (["/etc/passwd"], 126, "permission denied"),
        (["/etc"], 126, ""),
        (["/etc/passwd/x"], 127, "not a directory"),
    ],
)
def test_a_program_that_cannot_be_started(daemon: Daemon, busybox: str, command, code, says):
    before = _left(daemon)
    done = daemon.actr("run", "--rm", busybox, *command, check=code)
    assert says in _one_line(done.stderr)
    assert done.stdout == ""
    wait_until("nothing is left", lambda: daemon.json("ps", "-a") == [] and _left(daemon) == before)


def test_an_unknown_image(daemon: Daemon, busybox: str):
    missing = busybox.replace("busybox", "nothing")
    assert "nothing" in _one_line(daemon.actr("run", "--rm", "--pull", "never", missing, check=125).stderr)
    assert "nothing" in _one_line(daemon.actr("pull", missing, check=1).stderr.splitlines(keepends=True)[-1])


def test_a_registry_that_is_down(daemon: Daemon):
    done = daemon.actr("pull", "127.0.0.1:1/library/busybox:latest", check=1)
    assert "127.0.0.1:1" in done.stderr
    assert "is it running" in done.stderr


def test_a_blob_with_another_digest(daemon: Daemon, registry, tmp: Path):
    layout = images.busybox(tmp / "bad", "bad", config={"Labels": {"made.for": "this test"}})
    name = f"{registry.host}/library/bad:latest"
    images.push(layout, "bad", name)
    manifest = next(path for path in (tmp / "bad/blobs/sha256").iterdir() if b"made.for" in path.read_bytes())
    stored = registry.directory / "data/docker/registry/v2/blobs/sha256" / manifest.name[:2] / manifest.name
    if not stored.exists():
        stored = next(
            path
            for path in registry.directory.rglob(manifest.name)
            if path.is_dir() and (path / "data").exists()
        )
    content = (stored / "data").read_bytes()
    (stored / "data").write_bytes(content.replace(b"this test", b"that test"))
    done = daemon.actr("pull", name, check=1)
    assert manifest.name in done.stderr
    assert name not in {one["name"] for one in daemon.json("images")}
    assert not (daemon.root / "content/blobs/sha256" / manifest.name).exists()


def test_a_name_in_use(daemon: Daemon, busybox: str):
    daemon.actr("create", "--name", "taken", busybox)
    done = daemon.actr("run", "--rm", "--name", "taken", busybox, "true", check=125)
    assert "taken" in _one_line(done.stderr)
    daemon.actr("rm", "taken")
    assert daemon.json("ps", "-a") == []


def test_an_unknown_container(daemon: Daemon):
    for verb in ("logs", "stop", "kill", "rm", "inspect", "start", "wait"):
        assert "ghost" in _one_line(daemon.actr(verb, "ghost", check=1).stderr)


def test_exec_of_a_missing_program(daemon: Daemon, busybox: str):
    daemon.actr("run", "-d", "--name", "host", busybox, "sleep", "1000")
    assert "nope" in daemon.actr("exec", "host", "nope", check=127).stderr
    daemon.actr("rm", "-f", "host")


def test_a_daemon_that_is_not_running(tmp: Path):
    done = subprocess.run(
        [CHECKOUT / "bin/actr", "--address", tmp / "actord.sock", "ps"],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "start it" in _one_line(done.stderr)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("root = [", "not valid TOML"),
        ("colour = 'red'", "unknown configuration key colour"),
        ("log_level = 7", "must be of type str"),
        ("[metrics]\nlisten = '0.0.0.0:1'", "not a loopback address"),
        ("[runtime]\nname = 'rkt'", "neither runc nor crun"),
    ],
)
def test_a_broken_configuration_file(tmp: Path, text, says):
    (tmp / "c.toml").write_text(text)
    done = subprocess.run(
        [CHECKOUT / "bin/actord", "--root", tmp / "r", "--state", tmp / "s", "--config", tmp / "c.toml"],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert says in _one_line(done.stderr)
    assert not (tmp / "r").exists()


ALONE = ("unshare", "--mount", "--propagation", "private", "sh", "-ec")


@pytest.mark.parametrize(
    ("around", "says"),
    [
        (("unshare", "--user", "--map-root-user"), "it is root of a user namespace only"),
        (("setpriv", "--bounding-set=-net_admin"), "it is root without CAP_NET_ADMIN"),
        ((*ALONE, 'umount -R /sys/fs/cgroup; exec "$@"', "sh"), "mount -t cgroup2 cgroup2 /sys/fs/cgroup"),
        (
            (*ALONE, 'mount -t tmpfs -o nr_inodes=3 none "$0"; mkdir "$0/s"; exec "$@"', "{}"),
            "cannot use directory {}/s/containers: No space left on device",
        ),
    ],
    ids=("user namespace", "capability", "control groups", "inodes"),
)
def test_a_daemon_says_in_a_line_what_keeps_it_from_starting(tmp: Path, around: tuple[str, ...], says: str):
    at = tmp / "at"
    at.mkdir()
    words = ["--root", tmp / "r", "--state", at / "s", "--config", "/dev/null"]
    done = subprocess.run(
        [*(str(at) if word == "{}" else word for word in around), CHECKOUT / "bin/actord", *words],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert says.replace("{}", str(at)) in _one_line(done.stderr)


def test_a_daemon_whose_standard_streams_are_closed_is_one_all_the_same(short_root: Path):
    """As `nohup actord <&- >&- 2>&- &` has it."""
    directory = short_root / "closed"
    directory.mkdir()
    with running(directory, enter=("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh")) as started:
        for number in range(3):
            own = Path(f"/proc/{started.pid('zygote')}/fd/{number}")
            assert own.readlink() == Path("/dev/null")
        started.actr("version")


def test_a_second_daemon_is_refused(daemon: Daemon, tmp: Path):
    for words in (
        ("--root", daemon.root, "--state", tmp / "s"),
        ("--root", tmp / "r", "--state", daemon.state),
    ):
        done = subprocess.run(
            [CHECKOUT / "bin/actord", *words], capture_output=True, text=True, timeout=20, check=False
        )
        assert done.returncode == 1
        assert "in use by another actord" in _one_line(done.stderr)


@pytest.mark.parametrize("name", sorted(databases.KNOWN))
def test_what_a_newer_actord_has_written_is_refused_once(tmp: Path, name: str):
    """And left as it is: the newer one may come back."""
    database = tmp / "root" / name
    database.parent.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(database)) as newer:
        newer.execute("PRAGMA journal_mode=WAL")
        newer.execute("PRAGMA user_version=9999")
        done = subprocess.run(
            [CHECKOUT / "bin/actord", "--root", tmp / "root", "--state", tmp / "state"],
            capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
    assert done.returncode == 3
    assert f"{database} has schema version 9999" in _one_line(done.stderr)
    assert {path.name for path in (tmp / "root").rglob("*") if path.is_file()} == {
        database.name,
        "actord.lock",
    }


def test_systemd_leaves_alone_what_no_restart_mends():
    unit = (CHECKOUT / "etc/actord.service").read_text()
    assert f"\nRestartPreventExitStatus=2 {TOO_NEW}\n" in unit
