"""Logins end to end: kept where docker keeps them, used where they belong, seen nowhere else."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import stat
import tempfile
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from daemon import running, wait_until
from registry import Registry, make_image, push_with_skopeo, skopeo
from token_server import TokenServer

from tests.certificates import make_certificates
from tests.scripted_registry import Answer, Asked, ScriptedRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon import Daemon
    from registry import Image

pytestmark = pytest.mark.root

PASSWORD, IDENTITY = "s3cret-word-of-anna", "identity-t0ken-of-anna"
LOGIN = f"anna:{PASSWORD}"


@pytest.fixture(scope="module")
def image(short_root: Path) -> Image:
    layout = Path(tempfile.mkdtemp(prefix="i-", dir=short_root)) / "layout"
    return make_image(layout, "v1", b"one" * 9_000, b"two" * 400_000)


@pytest.fixture(scope="module")
def guarded(short_root: Path, image: Image) -> Iterator[Registry]:
    """With htpasswd."""
    with Registry(
        Path(tempfile.mkdtemp(prefix="g-", dir=short_root)), htpasswd={"anna": PASSWORD}
    ) as registry:
        push_with_skopeo(image, registry.host, "team/app", LOGIN)
        yield registry


@pytest.fixture(scope="module")
def secure(short_root: Path, image: Image) -> Iterator[tuple[Registry, Path]]:
    """With TLS, a private CA and htpasswd; and the directory of hosts.toml files that says so."""
    directory = Path(tempfile.mkdtemp(prefix="s-", dir=short_root))
    certificates = make_certificates(directory / "certificates")
    with Registry(directory / "r", {"anna": PASSWORD}, certificates) as registry:
        push_with_skopeo(image, registry.host, "team/app", LOGIN)
        hosts = directory / "hosts" / registry.host
        hosts.mkdir(parents=True)
        (hosts / "hosts.toml").write_text(f'server = "{registry.url}"\nca = "{certificates.ca}"\n')
        yield registry, hosts.parent


@pytest.fixture(scope="module")
def tokens(short_root: Path) -> Iterator[TokenServer]:
    directory = Path(tempfile.mkdtemp(prefix="t-", dir=short_root))
    with TokenServer(directory, {"anna": PASSWORD}, {IDENTITY: "anna"}) as server:
        yield server


@pytest.fixture(scope="module")
def with_tokens(short_root: Path, image: Image, tokens: TokenServer) -> Iterator[Registry]:
    """With token authentication; what is public/ may be pulled by anybody."""
    with Registry(Path(tempfile.mkdtemp(prefix="k-", dir=short_root)), token=tokens.settings) as registry:
        for repository in ("team/app", "public/app"):
            push_with_skopeo(image, registry.host, repository, LOGIN)
        yield registry


@pytest.fixture(scope="module")
def daemon(short_root: Path, secure: tuple[Registry, Path]) -> Iterator[Daemon]:
    settings = f'[registry]\nhosts = "{secure[1]}"\ndocker_config = "/nowhere/config.json"\n'
    with running(Path(tempfile.mkdtemp(prefix="d-", dir=short_root)), settings=settings) as started:
        yield started


@pytest.fixture
def config(tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the caller's logins are kept."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp / "docker"))
    return tmp / "docker" / "config.json"


def log_in(daemon: Daemon, host: str, secret: str = PASSWORD, *more: str, check: int = 0) -> str:
    words = more or ("-u", "anna")
    done = daemon.actr("login", *words, "--password-stdin", host, stdin=secret.encode(), check=check)
    return done.stdout + done.stderr


def pull_push_and_look(daemon: Daemon, host: str, image: Image, config: Path) -> None:
    """Without a login nothing goes; with it a pull and a push; after a logout nothing again."""
    name = f"{host}/team/app:v1"
    refused = daemon.actr("pull", name, check=1)
    assert "log in" in refused.stderr
    assert "denied" in log_in(daemon, host, "wr0ng-word", check=1) or not config.exists()
    assert not config.exists()
    assert str(config) in log_in(daemon, host)
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert daemon.actr("pull", name).stdout == f"{name}\n"
    pushed = daemon.actr("push", name, f"{host}/team/pushed:v2")
    assert pushed.stdout == f"{host}/team/pushed:v2@{image.digest}\n"
    assert daemon.actr("tags", f"{host}/team/pushed").stdout == "v2\n"
    assert daemon.actr("logout", host).stdout == f"removed the login for {host}\n"
    assert json.loads(config.read_text())["auths"] == {}
    assert daemon.actr("tags", f"{host}/team/pushed", check=1).stdout == ""


def test_htpasswd(daemon: Daemon, guarded: Registry, image: Image, config: Path):
    pull_push_and_look(daemon, guarded.host, image, config)
    found = skopeo(
        "inspect", "--raw", "--tls-verify=false", "--creds", LOGIN, f"docker://{guarded.host}/team/pushed:v2"
    )
    assert found.encode() == image.manifest


def test_tls_with_a_private_ca(daemon: Daemon, secure: tuple[Registry, Path], image: Image, config: Path):
    pull_push_and_look(daemon, secure[0].host, image, config)


def test_token_authentication(
    daemon: Daemon, with_tokens: Registry, tokens: TokenServer, image: Image, config: Path
):
    anonymous = f"{with_tokens.host}/public/app:v1"
    assert daemon.actr("pull", anonymous).stdout == f"{anonymous}\n"
    begun = len(tokens.asked)
    refused = daemon.actr("pull", f"{with_tokens.host}/team/app:v1", check=1)
    assert "permission denied" in refused.stderr
    assert "denied" in log_in(daemon, with_tokens.host, "wr0ng-word", check=1)
    log_in(daemon, with_tokens.host)
    assert daemon.actr("pull", f"{with_tokens.host}/team/app:v1").returncode == 0
    pushed = daemon.actr("push", f"{with_tokens.host}/team/app:v1", f"{with_tokens.host}/team/mounted:v2")
    assert pushed.stdout.endswith(f"@{image.digest}\n")
    scopes = [scope for asked in tokens.asked[begun:] if asked.granted for scope in asked.scopes]
    assert {"repository:team/app:pull", "repository:team/mounted:pull,push"} <= set(scopes)


def test_an_identity_token(daemon: Daemon, with_tokens: Registry, tokens: TokenServer, config: Path):
    log_in(daemon, with_tokens.host, IDENTITY, "--identity-token")
    kept = json.loads(config.read_text())["auths"][with_tokens.host]
    assert kept["identitytoken"] == IDENTITY
    assert daemon.actr("tags", f"{with_tokens.host}/team/app").stdout == "v1\n"
    last = tokens.asked[-1]
    assert (last.method, last.user, last.form["grant_type"]) == ("POST", "anna", "refresh_token")


def test_a_credential_helper_keeps_it(
    daemon: Daemon, guarded: Registry, tmp: Path, config: Path, monkeypatch: pytest.MonkeyPatch
):
    program = tmp / "bin" / "docker-credential-drawer"
    program.parent.mkdir()
    drawer = tmp / "drawer"
    ways = f"store) cat > {drawer};;\nget) cat {drawer};;\nerase) rm {drawer};;"
    program.write_text(f"#!/bin/sh\ncase $1 in\n{ways}\nesac\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    config.parent.mkdir()
    config.write_text(json.dumps({"credHelpers": {guarded.host: "drawer"}, "kept": "as it is"}))
    assert "docker-credential-drawer" in log_in(daemon, guarded.host)
    assert json.loads((tmp / "drawer").read_text())["Secret"] == PASSWORD
    assert json.loads(config.read_text())["kept"] == "as it is"
    assert PASSWORD not in config.read_text()
    assert daemon.actr("tags", f"{guarded.host}/team/app").stdout.startswith("v1\n")
    daemon.actr("logout", guarded.host)
    assert not (tmp / "drawer").exists()


def test_another_host_gets_no_login(daemon: Daemon, tmp: Path, config: Path):
    """The registry asks for a login, gets it, and then sends us elsewhere for its blobs."""
    image = make_image(tmp / "layout", "v1", os.urandom(50_000), os.urandom(90_000))
    auth = base64.b64encode(LOGIN.encode()).decode()
    config.parent.mkdir()
    with ScriptedRegistry() as scripted, ScriptedRegistry("127.0.0.2") as elsewhere:
        config.write_text(json.dumps({"auths": {scripted.host: {"auth": auth}}}))
        scripted.add_manifest("team/app", image.manifest, "v1")
        for digest, content in image.blobs.items():
            elsewhere.add_blob("team/app", content)
            path = f"/v2/team/app/blobs/{digest}"
            scripted.on("GET", path, Answer(307, b"", {"Location": f"{elsewhere.url}{path}"}))
        for route, (answer,) in scripted.routes.items():
            scripted.on(*route, partial(_guarded, answer))
        daemon.actr("pull", f"{scripted.host}/team/app:v1")
        assert {asked.headers.get("authorization", "") for asked in scripted.asked} == {"", f"Basic {auth}"}
        assert len(elsewhere.requests("GET")) == len(image.blobs)
        assert not any("authorization" in asked.headers for asked in elsewhere.asked)


def _guarded(answer: Answer, asked: Asked) -> Answer:
    if "authorization" in asked.headers:
        return answer
    return Answer(401, b"", {"WWW-Authenticate": 'Basic realm="tests"'})


def test_a_login_is_seen_nowhere(daemon: Daemon, guarded: Registry, config: Path):
    """Not in a log, an event, an argument or environment of a process, an error, or a file of the daemon."""
    seen: list[str] = []
    over = threading.Event()
    watch = threading.Thread(target=_watch_processes, args=(seen, over))
    watch.start()
    try:
        log_in(daemon, guarded.host)
        daemon.actr("pull", f"{guarded.host}/team/app:v1")
        missing = daemon.actr("pull", f"{guarded.host}/team/none:v1", check=1)
        wait_until("a puller lingers, with what it was started with", lambda: _lingers(daemon, guarded.host))
    finally:
        over.set()
        watch.join()
    assert not seen
    words = _spellings()
    texts = {
        "error": missing.stderr,
        "events": daemon.actr("events", "-A", "--since", "1h", "--no-follow").stdout,
        "actors": daemon.actr("actors", "--format", "json").stdout,
        "log": daemon.log.read_text(),
    }
    found = [name for name, text in texts.items() for word in words if word in text]
    found += [str(path) for path, content in _files(daemon) for word in words if word.encode() in content]
    assert not found


def _lingers(daemon: Daemon, host: str) -> bool:
    """It does for a moment, in which a busy machine may not come to look."""
    daemon.actr("pull", f"{host}/team/none:v1", check=1)
    return any(one["kind"] == "puller" for one in daemon.actors().values())


def _spellings() -> list[str]:
    return [PASSWORD, base64.b64encode(LOGIN.encode()).decode()]


def _files(daemon: Daemon) -> Iterator[tuple[Path, bytes]]:
    """Each with its content; some go while they are read: a puller's end, a collection."""
    for place in (daemon.state, daemon.root):
        for directory, _, names in os.walk(place):
            for path in (Path(directory, name) for name in names):
                with contextlib.suppress(FileNotFoundError):
                    if path.is_file() and not path.is_symlink():
                        yield path, path.read_bytes()


def _watch_processes(seen: list[str], over: threading.Event) -> None:
    """Look at every process of the machine again and again, as `ps` would."""
    words = [word.encode() for word in _spellings()]
    while not over.wait(0.005):
        for entry in Path("/proc").glob("[0-9]*"):
            for name in ("cmdline", "environ"):
                try:
                    text = (entry / name).read_bytes()
                except OSError:
                    continue
                if any(word in text for word in words):
                    seen.append(f"{entry.name} {name}")
