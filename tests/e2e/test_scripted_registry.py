"""What a registry may say and do wrong, each through the daemon: `actr` against one that is scripted."""

from __future__ import annotations

import base64
import json
import os
import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from daemon import Daemon, running, wait_until
from registry import digest_of, make_image

from tests.scripted_registry import OCI_INDEX, OCI_MANIFEST, Answer, ScriptedRegistry
from tests.scripted_uploads import Uploads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from registry import Image

    from tests.scripted_registry import Asked

pytestmark = pytest.mark.root

SIZE = 300_000
"""Of the layer, about: it does not get smaller."""


@pytest.fixture(scope="module")
def daemon(short_root: Path) -> Iterator[Daemon]:
    settings = '[registry]\ndocker_config = "/nowhere/config.json"\n'
    with running(Path(tempfile.mkdtemp(prefix="d-", dir=short_root)), settings=settings) as started:
        yield started


class Served:
    """An image of one layer, `HOST/odd/app:v1`, at a registry that does everything right until told else."""

    def __init__(self, registry: ScriptedRegistry, image: Image) -> None:
        self.registry = registry
        self.image = image
        self.name = f"{registry.host}/odd/app:v1"
        self.digest, self.layer = max(image.blobs.items(), key=lambda item: len(item[1]))
        self.path = f"/v2/odd/app/blobs/{self.digest}"
        for content in image.blobs.values():
            registry.add_blob("odd/app", content)
        registry.add_manifest("odd/app", image.manifest, "v1")
        self.properly = registry.routes["GET", self.path][0]

    def layer_is(self, *answers: Answer | Callable[[Asked], Answer]) -> None:
        """What the registry answers when asked for the layer."""
        self.registry.on("GET", self.path, *answers)

    @property
    def starts(self) -> list[int]:
        """The offsets from which the layer was asked for, in this order."""
        asked = self.registry.requests("GET", self.path)
        return [int(one.headers.get("range", "bytes=0-")[6:].partition("-")[0]) for one in asked]


@pytest.fixture
def served(tmp: Path) -> Iterator[Served]:
    with ScriptedRegistry() as registry:
        yield Served(registry, make_image(tmp / "layout", "v1", os.urandom(SIZE)))


def kept(daemon: Daemon, served: Served) -> bytes:
    """The layer in the store."""
    path = daemon.root / "content" / "blobs" / "sha256" / served.digest.partition(":")[2]
    return path.read_bytes() if path.exists() else b""


# Answers that ask for patience, and cut ones


def test_429_with_retry_after(daemon: Daemon, served: Served):
    head = ("HEAD", "/v2/odd/app/manifests/v1")
    served.registry.on(*head, Answer(429, b"", {"Retry-After": "1"}), served.registry.routes[head][0])
    served.layer_is(Answer(429, b"", {"Retry-After": "1"}), served.properly)
    began = time.monotonic()
    daemon.actr("pull", served.name)
    assert time.monotonic() - began >= 2  # what it was asked for, twice, and no less
    assert len(served.registry.requests(*head)) == len(served.starts) == 2


def test_cut_at_random_bytes(daemon: Daemon, served: Served):
    """Each time it goes on where it was: no byte is asked for twice."""
    dice = random.Random(8)  # noqa: S311 - where to cut, not a secret
    ends = [0]

    def cut(asked: Asked) -> Answer:
        whole = served.properly(asked) if callable(served.properly) else served.properly
        count = dice.randrange(1, SIZE // 5)
        ends.append(ends[-1] + count)
        return Answer(whole.status, whole.body, whole.headers, cut_after=count)

    served.layer_is(cut, cut, cut, cut, served.properly)
    daemon.actr("pull", served.name)
    assert served.starts == ends
    assert kept(daemon, served) == served.layer


def test_slow_drip(daemon: Daemon, served: Served):
    """However slow: as long as something comes, it is neither given up nor asked for again."""
    served.registry.beat = lambda: time.sleep(0.005)
    served.layer_is(Answer(200, served.layer, drip=1000))
    daemon.actr("pull", served.name)
    assert served.starts == [0]
    assert kept(daemon, served) == served.layer


def test_a_registry_that_trickles_keeps_a_blob_from_nobody_else(daemon: Daemon, served: Served):
    """It may name any blob: that of an image that everybody has, say."""
    with ScriptedRegistry() as trickling:
        malicious = Served(trickling, served.image)
        trickling.beat = lambda: time.sleep(0.5)
        malicious.layer_is(Answer(200, served.layer, drip=1000))
        with daemon.popen("pull", malicious.name) as pull:
            wait_until("its layer is asked for", lambda: malicious.starts)
            try:
                daemon.actr("pull", served.name)
            finally:
                trickling.beat = lambda: None
            assert pull.wait(60) == 0, "it takes what the other one has brought"
    assert malicious.starts == served.starts == [0]
    assert kept(daemon, served) == served.layer


def test_416_for_what_is_missing(daemon: Daemon, served: Served):
    served.layer_is(Answer(200, served.layer, cut_after=70_000), Answer(416), served.properly)
    daemon.actr("pull", served.name)
    assert served.starts[:2] == [0, 70_000]
    assert kept(daemon, served) == served.layer


def test_warnings(daemon: Daemon, served: Served):
    head = ("HEAD", "/v2/odd/app/manifests/v1")
    properly = served.registry.routes[head][0]
    assert isinstance(properly, Answer)
    properly.headers["Warning"] = '299 - "this tag is old"'
    done = daemon.actr("pull", served.name)
    assert done.stderr.count("this tag is old") == 1
    assert done.stdout == f"{served.name}\n"


def test_a_limit_for_all_transfers_together(tmp: Path):
    """Two of them are no faster than one."""
    with (
        ScriptedRegistry() as one,
        ScriptedRegistry() as two,
        running(
            tmp, settings='[registry]\ntotal_bandwidth = 400000\ndocker_config = "/nowhere"\n'
        ) as limited,
    ):
        images = [make_image(tmp / str(number), "v1", os.urandom(SIZE)) for number in range(2)]
        names = [Served(*each).name for each in zip((one, two), images, strict=True)]
        began = time.monotonic()
        pulls = [limited.popen("pull", "-q", name) for name in names]
        assert [(pull.communicate(timeout=60), pull.returncode)[1] for pull in pulls] == [0, 0]
        assert time.monotonic() - began >= 2 * SIZE / 400_000 - 0.1


# Content that is not what it should be


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        pytest.param(lambda layer: Answer(200, bytes(len(layer))), "had digest", id="wrong-digest"),
        pytest.param(lambda layer: Answer(200, layer + b"more"), "the registry has", id="wrong-length"),
        pytest.param(lambda _: Answer(200, b"x" * 65536, endless=True), "had digest", id="endless-body"),
    ],
)
def test_bad_content_is_refused(daemon: Daemon, served: Served, answer: Callable[[bytes], Answer], says: str):
    served.layer_is(answer(served.layer))
    done = daemon.actr("pull", "-q", served.name, check=1)
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert not kept(daemon, served)


@pytest.mark.parametrize("length", [0, 5, 1 << 20])
def test_the_length_that_head_states_does_not_matter(daemon: Daemon, served: Served, tmp: Path, length: int):
    """Proxies make of it what they like; the document's digest says what is right."""
    headers = {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": digest_of(served.image.manifest)}
    served.registry.on("HEAD", "/v2/odd/app/manifests/v1", Answer(200, b"", headers, length=length))
    for attempt in ("new", "known"):
        daemon.actr("pull", "-q", served.name)
        daemon.actr("save", "-q", "-o", tmp / f"{attempt}.tar", served.name)


def test_a_layer_beyond_the_limits_is_not_even_asked_for(daemon: Daemon, served: Served):
    """It could fill the disk: what is unpacked is counted as it comes, what comes is as long as announced."""
    manifest = json.loads(served.image.manifest)
    manifest["layers"][0]["size"] = 1 << 50
    served.registry.add_manifest("odd/app", json.dumps(manifest).encode(), "v1")
    served.layer_is(Answer(200, bytes(1 << 16), endless=True))
    assert "above the limit" in daemon.actr("pull", "-q", served.name, check=1).stderr
    assert not served.starts


# Other hosts


def test_redirect_to_another_host(daemon: Daemon, served: Served, tmp: Path, monkeypatch: pytest.MonkeyPatch):
    """The login is for the registry and for nobody else."""
    login = f"Basic {base64.b64encode(b'anna:secret').decode()}"
    (tmp / "docker").mkdir()
    logins = {"auths": {served.registry.host: {"auth": login.partition(" ")[2]}}}
    (tmp / "docker" / "config.json").write_text(json.dumps(logins))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp / "docker"))
    head = ("HEAD", "/v2/odd/app/manifests/v1")
    challenge = Answer(401, b"", {"WWW-Authenticate": 'Basic realm="odd"'})
    served.registry.on(*head, challenge, served.registry.routes[head][0])
    with ScriptedRegistry() as elsewhere:
        elsewhere.add_blob("odd/app", served.layer)
        served.layer_is(Answer(307, b"", {"Location": f"{elsewhere.url}{served.path}"}))
        daemon.actr("pull", served.name)
        assert [asked.headers.get("authorization") for asked in elsewhere.asked] == [None]
    assert served.registry.asked[-1].headers["authorization"] == login
    assert kept(daemon, served) == served.layer


# Lists


def listed(key: str, names: list[str], following: str = "") -> Answer:
    body = json.dumps({"name": "odd/app", key: names}).encode()
    return Answer(200, body, {"Link": f'<{following}>; rel="next"'} if following else {})


def test_pagination_of_tags(daemon: Daemon, served: Served):
    path = "/v2/odd/app/tags/list"
    served.registry.on("GET", path, listed("tags", ["b", "a"], f"{path}?last=a&n=2"), listed("tags", ["c"]))
    assert daemon.actr("tags", served.name).stdout.split() == ["b", "a", "c"]
    assert [asked.path for asked in served.registry.requests("GET", path)] == [path, f"{path}?last=a&n=2"]


def test_pagination_of_the_catalogue(daemon: Daemon, served: Served):
    path, host = "/v2/_catalog", served.registry.host
    served.registry.on(
        "GET",
        path,
        listed("repositories", ["odd/app", "x"], f"{path}?n=2"),
        listed("repositories", ["odd/z"]),
    )
    assert daemon.actr("search", host, "odd").stdout.split() == [f"{host}/odd/app", f"{host}/odd/z"]


def test_referrers_api(daemon: Daemon, served: Served):
    """On two pages, and nobody asks for the tag that older registries have instead."""
    subject = digest_of(served.image.manifest)
    path = f"/v2/odd/app/referrers/{subject}"

    def page(name: str, **headers: str) -> Answer:
        entry = {"mediaType": OCI_MANIFEST, "digest": digest_of(name.encode()), "size": 5}
        body = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [{**entry, "artifactType": name}]}
        return Answer(200, json.dumps(body).encode(), {"Content-Type": OCI_INDEX, **headers})

    served.registry.on("GET", path, page("text/sbom", Link=f"<{path}?n=1>; rel=next"), page("text/plain"))
    found = json.loads(daemon.actr("inspect", "--referrers", served.name).stdout)["referrers"]
    assert [one["artifactType"] for one in found] == ["text/sbom", "text/plain"]
    assert not served.registry.requests("GET", f"/v2/odd/app/manifests/{subject.replace(':', '-')}")


# Pushes


def test_chunk_minimum(daemon: Daemon, tmp: Path):
    """A push in chunks of 1 MiB to a registry that wants larger ones."""
    least = (1 << 20) + 500_000
    with ScriptedRegistry() as registry:
        served = Served(registry, make_image(tmp / "layout", "v1", os.urandom(3_500_000)))
        uploads = Uploads(registry, "odd/pushed", **{"OCI-Chunk-Min-Length": str(least)})
        for digest in set(served.image.blobs) - {served.digest}:
            registry.on("HEAD", f"/v2/odd/pushed/blobs/{digest}", Answer(200))
        put = "/v2/odd/pushed/manifests/v1"
        registry.on("PUT", put, Answer(201, headers={"Docker-Content-Digest": served.image.digest}))
        daemon.actr("pull", served.name)
        daemon.actr("push", "--chunk", "1", served.name, f"{registry.host}/odd/pushed:v1")
        assert uploads.stored[served.digest] == served.layer
        sizes = [len(asked.body) for asked in registry.requests("PATCH")]
        assert sizes.count(least) == len(served.layer) // least
        assert registry.requests("PUT", put)[0].body == served.image.manifest


def test_a_list_of_referrers_is_kept_though_the_registry_is_busy(daemon: Daemon, tmp: Path):
    """One without the API: the list under a tag is read and written, and each of these may have to wait."""
    subject = {"mediaType": OCI_MANIFEST, "digest": digest_of(b"subject"), "size": 7}
    tag = subject["digest"].replace(":", "-")
    with ScriptedRegistry() as registry:
        empty = registry.add_blob("odd/app", b"{}")
        config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2}
        document = {
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/x", "config": config,
            "layers": [], "subject": subject,
        }  # fmt: skip
        digest = registry.add_manifest("odd/app", json.dumps(document).encode(), "v1")
        daemon.actr("pull", f"{registry.host}/odd/app:v1")
        busy, route = Answer(503, headers={"Retry-After": "0"}), f"/v2/odd/app/manifests/{tag}"
        registry.on("HEAD", f"/v2/odd/app/blobs/{empty}", Answer(200))
        registry.on("PUT", "/v2/odd/app/manifests/v2", Answer(201))
        registry.on("GET", route, busy, Answer(404))
        registry.on("PUT", route, busy, Answer(201))
        daemon.actr("push", f"{registry.host}/odd/app:v1", f"{registry.host}/odd/app:v2")
        kept_list = json.loads(registry.requests("PUT", route)[-1].body)
    assert [one["digest"] for one in kept_list["manifests"]] == [digest]
