"""SIGKILL at each step of a load, a save and a commit: nothing half-named, nothing lost, all works again."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import images
import pytest
from archives import of_archive, of_layout
from daemon import CHECKOUT, Daemon, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root
NAME = "example.org/crash:1"
BASE = ("--base-name", "example.org/crash")
JOB = (
    "job.store.chunk", "job.commit.before", "job.commit.after", "job.unpack.applied",
    "job.unpack.after", "job.name.before", "job.name.after",
)  # fmt: skip
OTHERS = (
    "content.content.open.after", "content.content.commit.before", "content.content.commit.after",
    "snapshots.snapshots.commit.after", "metadata.images.put.before", "metadata.images.put.after",
)  # fmt: skip


@pytest.fixture(scope="module")
def failing(short_root: Path) -> Iterator[Daemon]:
    """A daemon with failpoints and without images."""
    with running(Path(tempfile.mkdtemp(prefix="k-", dir=short_root)), "--failpoints") as started:
        yield started


@pytest.fixture
def layout(tmp: Path, request: pytest.FixtureRequest) -> Path:
    """A layout whose image no other test has, so that nothing of it is there yet."""
    label = {"made.for": request.node.name}
    images.busybox(
        tmp / "layout", "1", config={"Labels": label}, extra=lambda tar: _mark(tar, request.node.name)
    )
    return tmp / "layout"


def _mark(tar, name: str) -> None:
    images.add_file(tar, "mark", name.encode())


def named(daemon: Daemon) -> bool:
    return NAME in {one["name"] for one in daemon.json("images")}


def is_whole(daemon: Daemon, layout: Path) -> None:
    """Its digests are right, every byte is, and it runs."""
    [found] = [one for one in daemon.json("images") if one["name"] == NAME]
    assert found["target"]["digest"] == of_layout(layout, "1").manifest
    [checked] = daemon.json("images", "check", "--deep", NAME)
    assert (checked["complete"], checked["unpacked"]) == (True, True)
    assert daemon.actr("run", "--rm", NAME, "echo", "ran").stdout == "ran\n"


@contextlib.contextmanager
def killed_at(daemon: Daemon, place: str) -> Iterator[None]:
    """In the block, the first who comes by at `place` gets SIGKILL; fails when nobody did."""
    actor = place.partition(".")[0]
    before = daemon.actors().get(actor, {}).get("pid")
    daemon.actr("chaos", "set", place, "kill(count=1)")
    yield
    if actor == "job":
        assert (daemon.state / "failpoints" / place).stat().st_size == 1
    else:
        wait_until(f"{actor} was killed", lambda: daemon.pid(actor) not in (0, before))
    daemon.actr("chaos", "set", place, "off")


@pytest.mark.parametrize("place", [*JOB, *OTHERS])
def test_a_load_goes_on_after_a_kill(place: str, failing: Daemon, layout: Path):
    failing.actr("rmi", NAME, check=None)
    with killed_at(failing, place):
        assert failing.actr("load", "-q", *BASE, "-i", layout).stdout == f"{NAME}\n"
    is_whole(failing, layout)


@pytest.mark.parametrize("place", ["job.unpack.applied", "job.name.before"])
def test_what_is_killed_again_and_again_leaves_no_name(place: str, failing: Daemon, layout: Path):
    failing.actr("rmi", NAME, check=None)
    failing.actr("chaos", "set", place, "kill")
    with failing.popen("load", "-q", *BASE, "-i", str(layout)) as load:
        wait_until("the job was started again", lambda: any(restarts(failing)))
        load.kill()
    failing.actr("chaos", "set", place, "off")
    wait_until("the job has ended", lambda: not list(restarts(failing)), 60)
    failing.actr("rmi", NAME, check=None)  # once it was no longer killed, it may have come to its end
    assert failing.actr("load", "-q", *BASE, "-i", layout).stdout == f"{NAME}\n"
    is_whole(failing, layout)


def restarts(daemon: Daemon) -> list[int]:
    return [one["restarts"] for name, one in daemon.actors().items() if name.startswith("job/")]


def test_all_killed_during_a_load(tmp: Path, layout: Path):
    """As a power cut, but for the disk: then nothing has a name, and the same load works."""
    (tmp / "d").mkdir()
    with running(tmp / "d", "--failpoints") as daemon:
        daemon.actr("chaos", "set", "job.name.before", "hang")
        with daemon.popen("load", "-q", *BASE, "-i", str(layout)) as load:
            wait_until("it is unpacked", lambda: any((daemon.root / "snapshots/snapshots").glob("*/fs/mark")))
            daemon.kill_everything()
            load.kill()
        daemon.start()
        assert not named(daemon)
        assert daemon.actr("load", "-q", *BASE, "-i", layout).stdout == f"{NAME}\n"
        is_whole(daemon, layout)


@pytest.mark.parametrize("redirection", [">", ">>"])
def test_a_save_into_a_redirected_file_has_nothing_of_the_attempt_that_was_killed(
    failing: Daemon, layout: Path, tmp: Path, redirection: str
):
    """The file's position is the shell's, the killed job's and the next one's."""
    failing.actr("load", "-q", *BASE, "-i", layout)
    failing.actr("chaos", "set", "job.save.written", "kill(count=1)")
    (tmp / "saved").write_text("before\n")
    script = f'"$1" --address "$2" save -q "$3" {redirection} "$4"'
    words = ["bash", "-c", script, "bash", CHECKOUT / "bin/actr", failing.state, NAME, tmp / "saved"]
    subprocess.run(words, check=True)
    assert (failing.state / "failpoints/job.save.written").stat().st_size == 1
    failing.actr("chaos", "set", "job.save.written", "off")
    failing.actr("save", "-q", "-o", tmp / "whole", NAME)
    before = b"before\n" if redirection == ">>" else b""
    assert (tmp / "saved").read_bytes() == before + (tmp / "whole").read_bytes()


def test_a_save_is_begun_anew_in_a_file_and_refused_in_a_pipe(failing: Daemon, layout: Path, tmp: Path):
    failing.actr("load", "-q", *BASE, "-i", layout)
    failing.actr("chaos", "set", "job.save.blob", "kill(count=1)")
    failing.actr("save", "-q", "-o", tmp / "saved", NAME)
    assert of_archive(tmp / "saved", "1", tmp / "seen") == of_layout(layout, "1")
    failing.actr("chaos", "set", "job.save.blob", "kill(count=1)")
    script = '"$1" --address "$2" save -q "$3" | cat > "$4"'
    words = [
        "bash",
        "-o",
        "pipefail",
        "-c",
        script,
        "bash",
        CHECKOUT / "bin/actr",
        failing.state,
        NAME,
        tmp / "piped",
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "run it again" in done.stderr
    failing.actr("chaos", "set", "job.save.blob", "error(unavailable)")
    failing.actr("save", "-q", "-o", tmp / "other", NAME, check=1)
    failing.actr("chaos", "set", "job.save.blob", "off")
    assert sorted(path.name for path in tmp.iterdir()) == ["layout", "piped", "saved", "seen"]


@pytest.mark.parametrize("there", [True, False])
def test_a_save_is_begun_anew_in_a_directory(failing: Daemon, layout: Path, tmp: Path, there: bool):
    """It was empty: what is there is the killed job's."""
    failing.actr("load", "-q", *BASE, "-i", layout)
    if there:
        (tmp / "saved").mkdir()
    failing.actr("chaos", "set", "job.save.written", "kill(count=1)")
    failing.actr("save", "-q", "-d", tmp / "saved", NAME)
    assert (failing.state / "failpoints/job.save.written").stat().st_size == 1
    failing.actr("chaos", "set", "job.save.written", "off")
    assert of_layout(tmp / "saved", "1") == of_layout(layout, "1")


@pytest.mark.parametrize("place", ["job.commit.after", "job.name.before", "content.content.commit.after"])
def test_a_commit_goes_on_after_a_kill(place: str, failing: Daemon, layout: Path):
    failing.actr("load", "-q", *BASE, "-i", layout)
    failing.actr("run", "--name", "made", NAME, "sh", "-c", f"echo {place} > /made")
    try:
        failing.actr("rmi", "committed:1", check=None)
        with killed_at(failing, place):
            failing.actr("commit", "-q", "made", "committed:1")
        assert failing.actr("run", "--rm", "committed:1", "cat", "/made").stdout == f"{place}\n"
        [checked] = failing.json("images", "check", "--deep", "committed:1")
        assert checked["complete"]
    finally:
        failing.actr("rm", "-f", "made")


def test_nothing_is_left(failing: Daemon):
    """After all of that: no job, no half-unpacked snapshot, and ingests at most that expire."""
    wait_until("no job is left", lambda: not list(restarts(failing)), 60)
    with contextlib.closing(failing.client()) as client:
        found = client.request("snapshots.list", {"namespace": "default"}, to="snapshots")["snapshots"]
    assert [one["key"] for one in found if one["key"].startswith("extract ")] == []
