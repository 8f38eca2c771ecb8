"""Commands that have a job done, against a scripted daemon."""

from __future__ import annotations

import json
import os

import pytest

NAME = "docker.io/library/a:1"
RESULT = {"images": [{"name": NAME, "digest": "sha256:" + "a1" * 32}]}


@pytest.fixture
def job(daemon):
    """Each job is asked for here; `job(result)` says how the next ones end."""
    daemon.answers("jobs.start", {"actor": "job/default/1"})

    def ends(result, work=None):
        def attach(asked):
            if work:
                try:
                    work(daemon.bodies("jobs.start")[-1]["args"])
                except Exception as error:  # noqa: BLE001  # the test has to see it
                    asked.err("internal", repr(error))
                    return
            asked.part({"ref": NAME, "status": "storing", "offset": 0, "total": 5000})
            asked.fin(result)

        daemon.on["jobs.attach"] = attach

    return ends


def test_a_saved_file_appears_when_all_is_well(daemon, actr, job, tmp):
    def write(args):
        lent = args["target"]
        assert (lent["pid"], args["fresh"]) == (os.getpid(), True)
        status = os.fstat(lent["fd"])
        assert (lent["dev"], lent["ino"]) == (status.st_dev, status.st_ino)
        os.write(lent["fd"], b"archive")
        assert not (tmp / "out").exists()

    job(RESULT, write)
    done = actr("save", "-o", tmp / "out", "a:1")
    assert (done.code, done.out) == (0, NAME + "\n")
    assert "storing" in done.err
    assert (tmp / "out").read_bytes() == b"archive"
    job(RESULT)
    assert json.loads(actr("save", "-q", "--format", "json", "-o", tmp / "out", "a:1").out) == RESULT
    assert (tmp / "out").read_bytes() == b""


@pytest.mark.parametrize("there", [True, False])
def test_a_link_that_is_saved_to_stays_one(daemon, actr, job, tmp, there):
    """As /dev/stdout is, whose replacement everybody on the machine would have."""
    (tmp / "link").symlink_to("out")
    if there:
        (tmp / "out").write_bytes(b"something longer than that")

    def write(args):
        assert not args["fresh"]
        os.write(args["target"]["fd"], b"archive")

    job(RESULT, write)
    assert actr("save", "-q", "-o", tmp / "link", "a:1").code == 0
    assert (tmp / "link").is_symlink()
    assert (tmp / "out").read_bytes() == b"archive"


@pytest.mark.parametrize("verb", ["save", "export"])
def test_a_name_for_standard_output_is_that(daemon, actr, job, tmp, verb):
    """As /dev/stdout behind >>: opened by that name, the file would begin anew."""

    def write(args):
        assert not args["fresh"]
        os.write(args["target"]["fd"], b"archive")

    job(RESULT, write)
    (tmp / "log").write_bytes(b"before\n")
    ours = os.dup(1)
    with (tmp / "log").open("ab") as log:
        os.dup2(log.fileno(), 1)
    try:
        code = actr(verb, "-q", "-o", "/dev/stdout", "--format", "json", "a:1").code
    finally:
        os.dup2(ours, 1)
        os.close(ours)
    assert code == 0
    assert (tmp / "log").read_bytes() == b"before\narchive"


def test_a_save_that_fails_leaves_nothing(daemon, actr, job, tmp):
    job(RESULT)
    daemon.refuses("jobs.attach", "failed_precondition", "not all here", by="job/default/1/1")
    for words in (("-o", tmp / "out"), ("-d", tmp / "made")):
        assert actr("save", "-q", *words, "a:1").code == 1
    assert not list(tmp.glob("*out*")) + list(tmp.glob("made"))


@pytest.mark.parametrize("there", [True, False])
def test_a_directory_is_as_it_was_when_a_save_into_it_fails(daemon, actr, job, tmp, there):
    if there:
        (tmp / "out").mkdir()

    def write(args):
        assert args["fresh"]
        (tmp / "out/blobs/sha256").mkdir(parents=True)
        (tmp / "out/blobs/sha256/a1").write_text("some")
        (tmp / "out/oci-layout").write_text("{}")
        raise ValueError("cut off")

    job(RESULT, write)
    assert actr("save", "-q", "-d", tmp / "out", "a:1").code == 1
    assert list(tmp.glob("out")) == [tmp / "out"] * there
    assert list(tmp.glob("out/*")) == []


def test_a_directory_that_was_not_empty_is_left_alone(daemon, actr, job, tmp):
    (tmp / "out/blobs").mkdir(parents=True)
    job(RESULT)
    daemon.refuses("jobs.attach", "failed_precondition", "the directory is not empty", by="job/default/1/1")
    assert actr("save", "-q", "-d", tmp / "out", "a:1").code == 1
    assert not daemon.bodies("jobs.start")[0]["args"]["fresh"]
    assert (tmp / "out/blobs").is_dir()


def test_a_job_that_went_with_the_daemon_is_not_said_to_be_unknown(daemon, actr, job, tmp):
    job(RESULT)
    daemon.on["jobs.attach"] = lambda asked: asked.err("not_found", f"no actor is named {asked.to}")
    done = actr("save", "-q", "-o", tmp / "out", "a:1")
    assert done.code == 1
    assert done.err.startswith("actr: the daemon was stopped, or was too slow to say how save ended")
    assert not list(tmp.glob("*out*"))


def test_save_takes_one_place(actr, daemon, tmp):
    done = actr("save", "-o", "x", "-d", tmp, "a:1")
    assert done.code == 2
    assert "either" in done.err
    assert daemon.ops() == []


def test_load(daemon, actr, job, tmp):
    job(RESULT)
    (tmp / "in").write_bytes(b"archive")
    done = actr("load", "-q", "-i", tmp / "in", "--base-name", "b", "--no-unpack")
    assert (done.code, done.out, done.err) == (0, NAME + "\n", "")
    [asked] = daemon.bodies("jobs.start")
    assert (asked["work"], asked["namespace"]) == ("load", "default")
    assert (asked["args"]["base"], asked["args"]["unpack"]) == ("b", False)
    assert actr("load", "-i", tmp / "gone").err == f"actr: {tmp}/gone: No such file or directory\n"


def test_diff_prints_what_the_job_wrote(actr, job):
    job({"changes": 2}, lambda args: os.write(args["target"]["fd"], b'["A","/a"]\n["D","/b\\u001b"]\n'))
    assert actr("diff", "c").out == "A /a\nD /b?\n"
    assert json.loads(actr("diff", "--format", "json", "c").out)[1] == {"kind": "D", "path": "/b\x1b"}


def test_commit_and_convert_and_tag(daemon, actr, job):
    job({"name": NAME})
    assert actr("commit", "-q", "-m", "why", "-c", "CMD x", "--no-pause", "c", "a:1").out == NAME + "\n"
    assert actr("images", "convert", "-q", "--platform", "amd64", "b", "a:1").out == NAME + "\n"
    commit, convert = daemon.bodies("jobs.start")
    assert commit["args"] == {
        "container": "c", "target": "a:1", "message": "why", "author": "", "changes": ["CMD x"],
        "compression": "gzip", "pause": False,
    }  # fmt: skip
    assert convert["args"]["platforms"] == ["amd64"]
    target = {"mediaType": "x/y", "digest": "sha256:" + "a1" * 32, "size": 1}
    daemon.answers("images.get", {"name": NAME, "target": target, "labels": {"k": "v"}})
    daemon.answers("images.put", {"name": "docker.io/library/b:2"})
    assert actr("tag", "a:1", "b:2").out == "docker.io/library/b:2\n"
    [put] = daemon.bodies("images.put")
    assert (put["target"], put["labels"]) == (target, {"k": "v"})


def test_history_check_and_usage(daemon, actr, job):
    job(
        {
            "history": [
                {"digest": "sha256:" + "ab" * 32, "size": 5000, "created_by": "RUN  x", "comment": "c"},
                {},
            ]
        }
    )
    lines = actr("history", "a").out.splitlines()
    assert lines[1].split() == ["abababababab", "RUN", "x", "5.0", "kB", "c"]
    job({"name": NAME, "complete": False, "unpacked": False, "missing": ["x"], "damaged": []})
    done = actr("images", "check", "a")
    assert done.code == 1
    assert done.out.splitlines()[1].split() == ["a:1", "incomplete", "no", "1", "0"]
    job({"name": NAME, "blobs": 3, "size": 2_000_000, "unique": 0})
    assert actr("images", "usage", "a").out.splitlines()[1].split() == ["a:1", "3", "2.0", "MB", "0", "B"]
