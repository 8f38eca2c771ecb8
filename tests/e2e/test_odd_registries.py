"""What registries do now and then, and what images are made of, pulled from one that is scripted."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import zstandard
from daemon import Daemon, running
from registry import OCI_CONFIG, OCI_LAYER, digest_of, make_image
from test_scripted_registry import SIZE, Served, kept

from tests.scripted_registry import OCI_MANIFEST, Answer, Asked, ScriptedRegistry
from tests.unit.layer.crafted import Tar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.root
EMPTY = "application/vnd.oci.empty.v1+json"


@pytest.fixture(scope="module")
def daemon(short_root: Path) -> Iterator[Daemon]:
    settings = '[registry]\ndocker_config = "/nowhere/config.json"\n'
    with running(Path(tempfile.mkdtemp(prefix="d-", dir=short_root)), settings=settings) as started:
        yield started


@pytest.fixture
def served(tmp: Path) -> Iterator[Served]:
    with ScriptedRegistry() as registry:
        yield Served(registry, make_image(tmp / "layout", "v1", os.urandom(SIZE)))


# Registries


def test_tokens_that_end_in_the_middle_of_a_blob(daemon: Daemon, served: Served):
    """Each is good for two requests, and each answer is cut: no byte comes twice."""
    left: dict[str, int] = {}
    numbers = itertools.count()
    registry = served.registry

    def token(_: Asked) -> Answer:
        name = f"token-{next(numbers)}"
        left[name] = 2
        return Answer(200, json.dumps({"token": name, "expires_in": 300}).encode())

    def guarded(route: Callable[[Asked], Answer] | Answer, cut: int | None) -> Callable[[Asked], Answer]:
        def answer(asked: Asked) -> Answer:
            name = asked.headers.get("authorization", "").removeprefix("Bearer ")
            if not left.get(name):
                challenge = f'Bearer realm="{registry.url}/token",service="odd"'
                return Answer(401, b"", {"WWW-Authenticate": challenge})
            left[name] -= 1
            whole = route(asked) if callable(route) else route
            return Answer(whole.status, whole.body, whole.headers, cut_after=cut)

        return answer

    for (method, path), (route, *_) in list(registry.routes.items()):
        registry.on(method, path, guarded(route, 60_000 if path == served.path else None))
    registry.on("GET", "/token", token)
    daemon.actr("pull", served.name)
    assert kept(daemon, served) == served.layer
    sent = [one for one in served.starts if one]
    assert sorted(set(sent)) == list(range(60_000, len(served.layer), 60_000))
    assert len(registry.requests("GET", "/token")) >= 4


@pytest.mark.parametrize(
    "stale",
    [
        pytest.param(lambda layer: Answer(200, bytes(len(layer))), id="other bytes"),
        pytest.param(lambda _: Answer(200, b"<html>please log in</html>"), id="another length"),
    ],
)
def test_a_cache_that_serves_something_else_once(
    daemon: Daemon, served: Served, stale: Callable[[bytes], Answer]
):
    served.layer_is(stale(served.layer), served.properly)
    daemon.actr("pull", "-q", served.name)
    assert served.starts == [0, 0]
    assert kept(daemon, served) == served.layer


def test_a_cache_that_serves_another_manifest_once(daemon: Daemon, served: Served):
    path = ("GET", f"/v2/odd/app/manifests/{digest_of(served.image.manifest)}")
    properly = served.registry.routes[path][0]
    served.registry.on(*path, Answer(200, b"{}", {"Content-Type": OCI_MANIFEST}), properly)
    daemon.actr("pull", "-q", served.name)
    assert len(served.registry.requests(*path)) == 2


def test_http_1_0(daemon: Daemon, served: Served, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tests.scripted_registry._Conversation.protocol_version", "HTTP/1.0")
    served.layer_is(Answer(200, served.layer, length=None, cut_after=100_000), served.properly)
    daemon.actr("pull", served.name)
    assert served.starts == [0, 100_000]
    assert kept(daemon, served) == served.layer


# Images


class Made:
    """An image of any layers at a scripted registry."""

    def __init__(self, registry: ScriptedRegistry) -> None:
        self.registry = registry
        self.name = f"{registry.host}/odd/made:v1"
        self.blobs: dict[str, bytes] = {}

    def blob(self, content: bytes, kind: str, **fields: Any) -> dict[str, Any]:
        self.blobs[digest_of(content)] = content
        self.registry.add_blob("odd/made", content)
        return {"mediaType": kind, "digest": digest_of(content), "size": len(content), **fields}

    def image(
        self, tars: list[bytes], layers: list[dict[str, Any]], kind: str = OCI_MANIFEST, **more: Any
    ) -> str:
        rootfs = {"type": "layers", "diff_ids": [digest_of(one) for one in tars]}
        config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/x"]}, "rootfs": rootfs}
        described = self.blob(json.dumps(config).encode(), OCI_CONFIG)
        document = {"schemaVersion": 2, "mediaType": kind, "config": described, "layers": layers, **more}
        return self.registry.add_manifest("odd/made", json.dumps(document).encode(), "v1", media_type=kind)


@pytest.fixture
def made(tmp: Path) -> Iterator[Made]:
    with ScriptedRegistry() as registry:
        yield Made(registry)


def files(daemon: Daemon, tmp: Path, name: str) -> dict[str, bytes]:
    """What an image shows."""
    container = daemon.actr("create", name, "/x").stdout.strip()
    try:
        daemon.actr("cp", f"{container}:/", tmp / "out")
    finally:
        daemon.actr("rm", container)
    out = tmp / "out"
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def estargz(tar: Tar, name: str, content: bytes) -> tuple[bytes, bytes]:
    """As stargz-snapshotter writes it: a member for each entry, a table of contents, a footer."""
    parts = [bytes(Tar().file(".no.prefetch.landmark", b"\x0f").data), tar.data]
    toc = json.dumps({"version": 1, "entries": [{"name": name, "type": "reg", "size": len(content)}]})
    parts.append(bytes(Tar().file("stargz.index.json", toc.encode())))
    members = [gzip.compress(part, 9, mtime=0) for part in parts]
    extra = b"SG" + (22).to_bytes(2, "little") + b"%016xSTARGZ" % len(b"".join(members[:2]))
    header = b"\x1f\x8b\x08\x04" + bytes(4) + b"\x00\xff" + len(extra).to_bytes(2, "little") + extra
    footer = header + b"\x01\x00\x00\xff\xff" + bytes(8)
    return b"".join(members) + footer, b"".join(parts)


def test_layers_of_every_kind(daemon: Daemon, made: Made, tmp: Path):
    tars = [bytes(Tar().file(f"f{number}", b"%d" % number)) for number in range(4)]
    lazy, plain = estargz(Tar().file("lazy", b"content"), "lazy", b"content")
    layers = [
        made.blob(zstandard.compress(tars[0]), OCI_LAYER.replace("gzip", "zstd")),
        made.blob(tars[1], OCI_LAYER.removesuffix("+gzip")),
        made.blob(gzip.compress(tars[2]), "application/vnd.docker.image.rootfs.diff.tar.gzip"),
        made.blob(gzip.compress(tars[3][:700]) + gzip.compress(tars[3][700:]), OCI_LAYER),
        made.blob(lazy, OCI_LAYER, annotations={"containerd.io/snapshot/stargz/toc.digest": digest_of(b"")}),
    ]
    made.image([*tars, plain], layers)
    daemon.actr("pull", made.name)
    found = files(daemon, tmp, made.name)
    assert {name: found[name] for name in ("f0", "f1", "f2", "f3", "lazy")} == {
        "f0": b"0", "f1": b"1", "f2": b"2", "f3": b"3", "lazy": b"content",
    }  # fmt: skip


def test_a_layer_that_may_not_be_distributed_comes_from_its_address(daemon: Daemon, made: Made, tmp: Path):
    tar = bytes(Tar().file("base", b"elsewhere"))
    layer = gzip.compress(tar)
    with ScriptedRegistry() as elsewhere:
        elsewhere.on("GET", "/layer", Answer(200, layer))
        kind = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
        described = {"mediaType": kind, "digest": digest_of(layer), "size": len(layer)}
        urls = [f"{elsewhere.url}/gone", f"{elsewhere.url}/layer"]
        made.image([tar], [{**described, "urls": urls}])
        daemon.actr("pull", made.name)
        assert [asked.headers.get("authorization") for asked in elsewhere.asked] == [None, None]
    assert files(daemon, tmp, made.name)["base"] == b"elsewhere"


def test_as_many_layers_as_there_may_be(daemon: Daemon, made: Made, tmp: Path):
    tars = [bytes(Tar().file("same", b"%d" % number).file(f"f{number}")) for number in range(127)]
    made.image(tars, [made.blob(gzip.compress(tar, 1), OCI_LAYER) for tar in tars])
    daemon.actr("pull", made.name)
    found = files(daemon, tmp, made.name)
    assert found["same"] == b"126"
    assert {f"f{number}" for number in range(127)} <= found.keys()


def test_the_same_layer_twice(daemon: Daemon, made: Made, tmp: Path):
    tar, removal = bytes(Tar().file("f", b"again")), bytes(Tar().file(".wh.f"))
    layer, gone = (made.blob(gzip.compress(one), OCI_LAYER) for one in (tar, removal))
    made.image([tar, removal, tar], [layer, gone, layer])
    daemon.actr("pull", made.name)
    assert files(daemon, tmp, made.name)["f"] == b"again"


def test_an_artifact_with_a_subject_and_nothing_in_it(daemon: Daemon, made: Made):
    empty = made.blob(b"{}", EMPTY, data="e30=")
    subject = {"mediaType": OCI_MANIFEST, "digest": digest_of(b"not here"), "size": 7}
    document = {
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/x-signature",
        "config": empty, "layers": [empty], "subject": subject,
    }  # fmt: skip
    digest = made.registry.add_manifest("odd/made", json.dumps(document).encode(), "v1")
    daemon.actr("pull", made.name)
    assert digest in daemon.actr("inspect", made.name).stdout
    done = daemon.actr("run", made.name, "true", check=None)
    assert (done.returncode, done.stderr.count("\n")) == (125, 1)


def test_a_manifest_of_schema_1_is_refused_with_its_name(daemon: Daemon, made: Made):
    kind = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    document = {"schemaVersion": 1, "name": "odd/made", "tag": "v1", "fsLayers": [], "history": []}
    made.registry.add_manifest("odd/made", json.dumps(document).encode(), "v1", media_type=kind)
    done = daemon.actr("pull", made.name, check=1)
    assert "schema 1" in done.stderr


def test_a_digest_header_that_lies(daemon: Daemon, served: Served):
    headers = {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": digest_of(b"something else")}
    for method in ("HEAD", "GET"):
        route = (method, "/v2/odd/app/manifests/v1")
        served.registry.on(*route, Answer(200, served.image.manifest, headers))
    done = daemon.actr("pull", "-q", served.name, check=1)
    assert (done.stderr.count("\n"), digest_of(b"something else") in done.stderr) == (1, True)
