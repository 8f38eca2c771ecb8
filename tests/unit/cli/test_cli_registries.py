"""push, copy, tags, search, login, logout, inspect --remote; and which login goes where."""

from __future__ import annotations

import base64
import io
import json

import pytest

from cli.progress import Layer, Layers

PULLER = "puller/default/1"
AUTH = base64.b64encode(b"anna:s3cret-word").decode()


@pytest.fixture(autouse=True)
def config(tmp, monkeypatch):
    """Where the caller's logins are kept; one for reg.test."""
    path = tmp / "docker" / "config.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"auths": {"reg.test": {"auth": AUTH}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(path.parent))
    return path


@pytest.fixture
def transfers(daemon):
    """Answers each transfer with what the test puts in."""
    daemon.answers("transfers.start", {"actor": PULLER})

    def answer(body):
        daemon.answers("transfers.attach", body)
        return daemon

    return answer


def asked(daemon, op):
    return [one.body for one in daemon.asked if one.op == op]


def test_push_names_the_target_and_its_digest(transfers, actr):
    daemon = transfers({"name": "reg.test/a/b:2", "digest": "sha256:ab", "warnings": ["old registry"]})
    done = actr("push", "--chunk", "1.5", "other.test/a/b:1", "reg.test/a/b:2")
    assert (done.out, done.err) == ("reg.test/a/b:2@sha256:ab\n", "actr: old registry\n")
    wish = asked(daemon, "transfers.start")[0]
    assert (wish["task"], wish["reference"], wish["target"]) == ("push", "other.test/a/b:1", "reg.test/a/b:2")
    assert wish["chunk"] == 3 << 19
    assert actr("push", "-q", "reg.test/a/b:2").out == "sha256:ab\n"


def test_a_login_goes_to_the_transfer_alone_and_only_for_its_registry(transfers, actr):
    daemon = transfers({"name": "reg.test/a:1", "digest": "sha256:ab"})
    actr("push", "reg.test/a:1")
    actr("push", "elsewhere.test/a:1")
    wishes, bodies = asked(daemon, "transfers.start"), asked(daemon, "transfers.attach")
    assert [wish.get("brings_login", False) for wish in wishes] == [True, False]
    login = {"username": "anna", "password": "s3cret-word"}
    assert bodies == [{"logins": {"reg.test": login}}, {}]
    assert "s3cret-word" not in json.dumps(wishes)


def test_a_copy_brings_the_logins_of_both_ends(transfers, actr, config):
    config.write_text(
        json.dumps({"auths": {"a.test": {"auth": AUTH}, "b.test": {"auth": AUTH}, "c.test": {}}})
    )
    daemon = transfers({"name": "b.test/x:1", "digest": "sha256:ab"})
    assert actr("copy", "a.test/x:1", "b.test/x:1").out == "b.test/x:1@sha256:ab\n"
    assert asked(daemon, "transfers.attach")[0]["logins"].keys() == {"a.test", "b.test"}


def test_a_broken_config_is_named(actr, config):
    config.write_text("{ s3cret")
    done = actr("tags", "reg.test/a")
    assert done.code == 1
    assert str(config) in done.err
    assert "s3cret" not in done.err


def test_tags_and_search(transfers, actr):
    transfers({"name": "reg.test/a", "tags": ["1", "2"]})
    assert actr("tags", "reg.test/a").out == "1\n2\n"
    transfers({"host": "reg.test", "repositories": ["team/app", "team/web", "other"]})
    assert actr("search", "reg.test", "team").out == "reg.test/team/app\nreg.test/team/web\n"
    assert json.loads(actr("search", "reg.test", "we", "--format", "json").out) == ["reg.test/team/web"]
    none = actr("search", "reg.test", "nothing")
    assert (none.code, none.out) == (1, "")


def test_login_keeps_what_the_registry_accepts(transfers, actr, config, monkeypatch):
    daemon = transfers({"host": "new.test"})
    monkeypatch.setattr("sys.stdin", io.StringIO("pass word\n"))
    done = actr("login", "-u", "bert", "--password-stdin", "new.test")
    assert (done.code, str(config) in done.out) == (0, True)
    assert asked(daemon, "transfers.attach")[0]["logins"]["new.test"]["password"] == "pass word"
    kept = json.loads(config.read_text())["auths"]
    assert base64.b64decode(kept["new.test"]["auth"]) == b"bert:pass word"
    assert actr("logout", "new.test").out == "removed the login for new.test\n"
    assert json.loads(config.read_text())["auths"].keys() == {"reg.test"}


def test_login_keeps_nothing_that_is_refused(daemon, actr, config, monkeypatch):
    before = config.read_text()
    daemon.answers("transfers.start", {"actor": PULLER})
    daemon.refuses("transfers.attach", "permission_denied", "wrong", by=f"{PULLER}/1")
    monkeypatch.setattr("sys.stdin", io.StringIO("wr0ng-word"))
    done = actr("login", "-u", "bert", "--password-stdin", "new.test")
    assert done.code == 1
    assert "wr0ng-word" not in done.err
    assert config.read_text() == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("login", "--password-stdin", "new.test"), "wants --user"),
        (("login", "-u", "bert", "new.test"), "--password-stdin"),
        (("pull", "--platform", "linux/arm64", "-a", "x"), "exclude each other"),
    ],
)
def test_what_makes_no_sense_is_said(actr, monkeypatch, words, says):
    monkeypatch.setattr("os.isatty", lambda _: False)
    done = actr(*words)
    assert done.code == 2
    assert says in done.err


def test_rate_and_time_left():
    layers = Layers()
    part = {"ref": "sha256:" + "ab" * 32, "status": "downloading", "total": 10_000_000}
    layer, _ = layers.update({**part, "offset": 1_000_000})
    layer._since = 100.0
    layers.update({**part, "offset": 5_000_000})
    assert layer.rate(100.1) == 0  # too early to tell
    assert layer.rate(102.0) == 2_000_000
    assert layer.speed(102.0) == "2.0 MB/s, 3 s left"
    assert layers.lines(120, 20, 102.0)[0].endswith("5.0 MB / 10.0 MB  2.0 MB/s, 3 s left")
    assert "left" not in layers.lines(70, 20, 102.0)[0]


def test_an_unknown_total_has_no_time_left():
    layer = Layer("sha256:" + "ab" * 32)
    layer.update({"status": "downloading", "offset": 0}, now=1.0)
    layer.update({"status": "downloading", "offset": 4000})
    assert layer.speed(3.0) == "2.0 kB/s"
