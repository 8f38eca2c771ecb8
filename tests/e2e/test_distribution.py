"""Pull, push, copy and ask, with the daemon: beside skopeo, containerd and podman, and many at once."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import images
import pytest
import zstandard
from daemon import Daemon, running, wait_until
from interrupted import Interrupted
from registry import Registry, digest_of, make_image, push_with_skopeo, skopeo

from actors.inflight import COMING_BACK
from bench.peers import Containerd
from tests.scripted_registry import OCI_INDEX, Answer, ScriptedRegistry
from transport.registry.client import RegistryClient
from transport.registry.credentials import NoCredentials
from transport.registry.hosts import Hosts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry import Image

pytestmark = pytest.mark.root

EMPTY = "application/vnd.oci.empty.v1+json"


@pytest.fixture(scope="module")
def image(short_root: Path) -> Image:
    directory = Path(tempfile.mkdtemp(prefix="i-", dir=short_root))
    return make_image(directory / "layout", "v1", b"one" * 9_000, os.urandom(3_000_000))


@pytest.fixture(scope="module")
def daemon(short_root: Path) -> Iterator[Daemon]:
    settings = '[registry]\ndocker_config = "/nowhere/config.json"\n'
    with running(Path(tempfile.mkdtemp(prefix="d-", dir=short_root)), settings=settings) as started:
        yield started


@pytest.fixture(scope="module")
def containerd(short_root: Path) -> Iterator[Containerd]:
    with Containerd(Path(tempfile.mkdtemp(prefix="c-", dir=short_root))) as started:
        yield started


def inspected(daemon: Daemon, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(daemon.actr("inspect", "--remote", name).stdout)
    return found


# Others


@pytest.fixture(scope="module")
def pushed(daemon: Daemon, registry: Registry, short_root: Path) -> dict[str, str]:
    """What skopeo pushed (gzip, zstd, an index, an index in an index), pulled and pushed again by actord."""
    directory = Path(tempfile.mkdtemp(prefix="p-", dir=short_root))
    layout = images.busybox(directory / "b", "one", platforms=("amd64", "arm64"))
    host = registry.host
    images.push(layout, "one", f"{host}/theirs/index:1")
    plain = ("--src-tls-verify=false", "--dest-tls-verify=false")
    one = (f"docker://{host}/theirs/index:1", f"docker://{host}/theirs/gzip:1")
    skopeo("--insecure-policy", "copy", *plain, *one)
    add_zstd(layout, "zstd")
    zstd = (f"oci:{layout.directory}:zstd", f"docker://{host}/theirs/zstd:1")
    skopeo("--insecure-policy", "copy", "--preserve-digests", "--dest-tls-verify=false", *zstd)
    digests = {}
    for kind in ("index", "gzip", "zstd"):
        daemon.actr("pull", "-q", "--all-platforms", f"{host}/theirs/{kind}:1")
        done = daemon.actr("push", "-q", f"{host}/theirs/{kind}:1", f"{host}/ours/{kind}:1")
        digests[kind] = done.stdout.strip()
        raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{host}/ours/{kind}@{digests[kind]}")
        assert digest_of(raw.encode()) == digests[kind]
    return digests


def add_zstd(layout: images.Layout, tag: str) -> None:
    """The layout's own image with its layer compressed anew."""
    blobs = layout.directory / "blobs" / "sha256"
    packed = max(blobs.iterdir(), key=lambda path: path.stat().st_size)
    tar = gzip.decompress(packed.read_bytes())
    layer = layout.add_blob(zstandard.ZstdCompressor().compress(tar), images.LAYER.replace("gzip", "zstd"))
    layout.tag(tag, layout.add_image([(layer, digest_of(tar))], {"Cmd": ["sh"], "Env": [images.PATH]}))


def test_zstd_is_zstd(daemon: Daemon, registry: Registry, pushed: dict[str, str]):
    document = inspected(daemon, f"{registry.host}/ours/zstd:1")["document"]
    assert [layer["mediaType"] for layer in document["layers"]] == [images.LAYER.replace("gzip", "zstd")]
    done = daemon.actr("run", "--rm", f"{registry.host}/theirs/zstd:1", "echo", "hello")
    assert done.stdout == "hello\n"


@pytest.mark.parametrize("kind", ["index", "gzip", "zstd"])
def test_skopeo_pulls_what_was_pushed(registry: Registry, pushed: dict[str, str], tmp: Path, kind: str):
    source = f"docker://{registry.host}/ours/{kind}@{pushed[kind]}"
    skopeo("--insecure-policy", "copy", "--all", "--src-tls-verify=false", source, f"oci:{tmp}/out:1")
    entry = json.loads((tmp / "out" / "index.json").read_text())["manifests"][0]
    assert entry["digest"] == pushed[kind]


@pytest.mark.parametrize("kind", ["index", "gzip", "zstd"])
def test_containerd_pulls_what_was_pushed(
    containerd: Containerd, registry: Registry, pushed: dict[str, str], kind: str
):
    name = f"{registry.host}/ours/{kind}@{pushed[kind]}"
    containerd.run("images", "pull", "--plain-http", name)
    line = next(line for line in containerd.run("images", "ls").splitlines() if line.startswith(name))
    assert pushed[kind] in line.split()[2]


@pytest.mark.parametrize("kind", ["index", "gzip", "zstd"])
def test_podman_pulls_what_was_pushed(registry: Registry, pushed: dict[str, str], tmp: Path, kind: str):
    name = f"{registry.host}/ours/{kind}@{pushed[kind]}"
    podman(tmp, "pull", "--tls-verify=false", "-q", name)
    found = json.loads(podman(tmp, "image", "inspect", name))[0]
    assert any(digest.endswith(pushed[kind]) for digest in found["RepoDigests"])


def podman(directory: Path, *words: str) -> str:
    where = ["--root", str(directory / "root"), "--runroot", str(directory / "run")]
    command = ["podman", *where, "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", *words]
    policy = directory / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    if words[0] == "pull":
        command += ["--signature-policy", str(policy)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_containerd_pushed_is_pulled(
    daemon: Daemon, containerd: Containerd, registry: Registry, pushed: dict[str, str]
):
    theirs, again = f"{registry.host}/theirs/gzip:1", f"{registry.host}/containerd/gzip:1"
    containerd.run("images", "pull", "--plain-http", theirs)
    containerd.run("images", "tag", theirs, again)
    containerd.run("images", "push", "--plain-http", again)
    daemon.actr("pull", f"{registry.host}/containerd/gzip@{pushed['gzip']}")
    done = daemon.actr("run", "--rm", f"{registry.host}/containerd/gzip@{pushed['gzip']}", "echo", "here")
    assert done.stdout == "here\n"


def test_what_podman_pushed_is_pulled(daemon: Daemon, registry: Registry, pushed: dict[str, str], tmp: Path):
    podman(tmp, "pull", "--tls-verify=false", "-q", f"{registry.host}/ours/gzip@{pushed['gzip']}")
    found = podman(tmp, "images", "-q", "--no-trunc").split()[0]
    podman(tmp, "push", "--tls-verify=false", "-q", found, f"docker://{registry.host}/podman/gzip:1")
    assert daemon.actr("run", "--rm", f"{registry.host}/podman/gzip:1", "echo", "here").stdout == "here\n"


def test_an_index_in_an_index(
    daemon: Daemon, containerd: Containerd, registry: Registry, pushed: dict[str, str]
):
    """Pulled, pushed and pulled by containerd under the digest of the outermost."""
    inner = inspected(daemon, f"{registry.host}/ours/index:1")
    entry = {"mediaType": inner["media_type"], "digest": inner["digest"], "size": inner["size"]}
    outer = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]})
    client = RegistryClient(Hosts(), NoCredentials(), "tests")
    client.destination(registry.host, "ours/index").put_manifest("nested", OCI_INDEX, outer.encode())
    client.close()
    daemon.actr("pull", "--all-platforms", f"{registry.host}/ours/index:nested")
    done = daemon.actr("push", "-q", f"{registry.host}/ours/index:nested", f"{registry.host}/ours/nested:1")
    assert done.stdout.strip() == digest_of(outer.encode())
    containerd.run("images", "pull", "--plain-http", f"{registry.host}/ours/nested@{done.stdout.strip()}")
    assert daemon.actr("run", "--rm", f"{registry.host}/ours/index:nested", "echo", "in").stdout == "in\n"


# Push and copy


def test_a_push_mounts_what_another_repository_has(daemon: Daemon, registry: Registry, image: Image):
    push_with_skopeo(image, registry.host, "mount/from")
    daemon.actr("pull", f"{registry.host}/mount/from:v1")
    before = len(registry.served("PUT", "/blobs/uploads/"))
    done = daemon.actr("push", f"{registry.host}/mount/from:v1", f"{registry.host}/mount/into:v1")
    assert done.stderr.count(": mounted") == len(image.blobs)
    assert len(registry.served("PUT", "/blobs/uploads/")) == before
    again = daemon.actr("push", f"{registry.host}/mount/from:v1", f"{registry.host}/mount/into:v2")
    assert again.stderr.count(": present") == len(image.blobs)


def test_a_push_in_chunks_survives_its_puller(daemon: Daemon, registry: Registry, short_root: Path):
    """Killed in the middle, it goes on with what the registry lacks."""
    layers = [os.urandom(2_500_000) for _ in range(3)]
    image = make_image(Path(tempfile.mkdtemp(prefix="x-", dir=short_root)) / "layout", "v1", *layers)
    with Registry(Path(tempfile.mkdtemp(prefix="y-", dir=short_root))) as other:
        push_with_skopeo(image, registry.host, "pushed/crash")
        daemon.actr("pull", f"{registry.host}/pushed/crash:v1")
        target = f"{other.host}/pushed/crash:v1"
        with daemon.popen("push", "--chunk", "1", f"{registry.host}/pushed/crash:v1", target) as push:
            wait_until(
                "a blob is there", lambda: other.served("PUT", "/blobs/uploads/") or push.poll() is not None
            )
            killed = sum(kill(one["pid"]) for one in daemon.json("actors") if one["kind"] == "puller")
            _, err = push.communicate(timeout=60)
        assert killed
        assert push.returncode == 0, err
        assert other.served("PATCH")
        found = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{target}")
        assert found.encode() == image.manifest


def kill(pid: int | None) -> bool:
    """Whether it was there to be killed: the pullers of what is over end by themselves."""
    if not pid:
        return False
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def test_copy(daemon: Daemon, registry: Registry, image: Image, short_root: Path):
    push_with_skopeo(image, registry.host, "copied/app")
    with Registry(Path(tempfile.mkdtemp(prefix="z-", dir=short_root))) as other:
        target = f"{other.host}/copied/app:v2"
        done = daemon.actr("copy", f"{registry.host}/copied/app:v1", target)
        assert done.stdout == f"{target}@{image.digest}\n"
        found = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{target}")
        assert found.encode() == image.manifest
        again = daemon.actr("copy", f"{registry.host}/copied/app:v1", target)
        assert again.stderr.count(": present") == len(image.blobs)
    names = [one["name"] for one in daemon.json("images")]
    assert target not in names


# Questions


def test_tags_search_inspect_and_removal(daemon: Daemon, registry: Registry, image: Image):
    push_with_skopeo(image, registry.host, "asked/app")
    name = f"{registry.host}/asked/app"
    assert daemon.actr("tags", name).stdout == "v1\n"
    assert daemon.actr("search", registry.host, "asked").stdout == f"{name}\n"
    assert daemon.actr("search", registry.host, "nothing-like-it", check=1).stdout == ""
    found = inspected(daemon, f"{name}:v1")
    assert (found["digest"], found["document"]) == (image.digest, json.loads(image.manifest))
    assert found["config"]["config"] == {"Cmd": ["/file-0"]}
    assert daemon.actr("tags", "--delete", f"{name}:v1").stdout == f"{image.digest}\n"
    assert "not found" in daemon.actr("inspect", "--remote", f"{name}:v1", check=1).stderr


def test_referrers_where_the_registry_has_no_api(daemon: Daemon, registry: Registry, image: Image, tmp: Path):
    """An artifact pulled and pushed again is listed, since its pusher keeps the list under a tag."""
    push_with_skopeo(image, registry.host, "subject/app")
    artifact = {
        "schemaVersion": 2, "mediaType": images.MANIFEST, "artifactType": "application/example.signature",
        "config": {"mediaType": EMPTY, "digest": digest_of(b"{}"), "size": 2}, "layers": [],
        "subject": {"mediaType": images.MANIFEST, "digest": image.digest, "size": len(image.manifest)},
    }  # fmt: skip
    body = json.dumps(artifact)
    client = RegistryClient(Hosts(), NoCredentials(), "tests")
    destination = client.destination(registry.host, "subject/app")
    destination.put_blob(digest_of(b"{}"), 2, lambda _: [b"{}"])
    destination.put_manifest("signature", images.MANIFEST, body.encode())
    client.close()
    name = f"{registry.host}/subject/app"
    assert json.loads(daemon.actr("inspect", "--referrers", f"{name}:v1").stdout)["referrers"] == []
    daemon.actr("pull", "--all-platforms", f"{name}:signature")
    for _ in range(2):
        daemon.actr("push", f"{name}:signature", f"{name}:again")
    found = json.loads(daemon.actr("inspect", "--referrers", f"{name}:v1").stdout)["referrers"]
    assert [(one["digest"], one["artifactType"]) for one in found] == [
        (digest_of(body.encode()), "application/example.signature")
    ]


# Many at once


def layer_fetches(registry: Registry, repository: str) -> list[str]:
    served = registry.served("GET", f"^/v2/{repository}/blobs/")
    return [found[0] for one in served if (found := re.search(r"sha256:[0-9a-f]{64}", one.path))]


def fetched_by_many(
    daemon: Daemon, registry: Registry, directory: Path, *, clients: int
) -> tuple[list[str], list[str]]:
    """An image that so many pull at once, of five names and in two namespaces: its blobs; those asked for."""
    contents = [os.urandom(1_500_000) for _ in range(4)]
    image = make_image(Path(tempfile.mkdtemp(prefix="m-", dir=directory)) / "layout", "v1", *contents)
    push_with_skopeo(image, registry.host, "many/app")
    tags = [f"t{number}" for number in range(5)]
    for tag in tags:
        skopeo(
            "--insecure-policy", "copy", "--src-tls-verify=false", "--dest-tls-verify=false",
            f"docker://{registry.host}/many/app:v1", f"docker://{registry.host}/many/app:{tag}",
        )  # fmt: skip
    before = len(layer_fetches(registry, "many/app"))
    pulls = [
        daemon.popen("-n", f"ns{number % 2}", "pull", "-q", f"{registry.host}/many/app:{tags[number % 5]}")
        for number in range(clients)
    ]
    failed = [err for pull in pulls for _, err in [pull.communicate(timeout=120)] if pull.returncode]
    assert not failed
    return sorted(image.blobs), sorted(layer_fetches(registry, "many/app")[before:])


def test_fifty_clients_fetch_each_blob_once(daemon: Daemon, registry: Registry, short_root: Path):
    """Of one name, of others, and in other namespaces."""
    blobs, fetched = fetched_by_many(daemon, registry, short_root, clients=50)
    assert fetched == blobs


def test_what_is_written_and_not_yet_committed_is_not_fetched_again(
    tmp: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
):
    """On a slow disk a commit takes its time; others come by meanwhile."""
    monkeypatch.setenv("ACTORD_FAILPOINTS", "puller.commit.before=delay(300)")
    with running(tmp, "--failpoints") as slow:
        blobs, fetched = fetched_by_many(slow, registry, tmp, clients=10)
    assert fetched == blobs


def test_interrupted_pulls_fetch_nothing_twice(tmp: Path):
    """The short form of `bin/chaos --pulls 200`."""
    figures = Interrupted(tmp, 12 << 20, 1 << 20, seed=5).perform(4)
    assert figures.failed == []
    assert (figures.finished, figures.asked_again, figures.forgotten, figures.bad) == (4, 0, 0, 0)
    assert figures.sent >= figures.size  # each pull has begun with nothing
    assert figures.killed
    assert figures.cut
    assert figures.restarted


# Ctrl-C

HALF = 1_000_000 - (256 << 10)  # bytes; while the registry is silent, less than a chunk waits in memory


@pytest.fixture
def slow(tmp: Path) -> Iterator[tuple[Daemon, ScriptedRegistry, bytes]]:
    """A daemon, and a registry whose one layer never comes to its end until it may."""
    with (
        ScriptedRegistry() as scripted,
        running(tmp, settings='[registry]\ndocker_config = "/nowhere"\nranges_at_once = 1\n') as started,
    ):
        image = make_image(tmp / "layout", "v1", os.urandom(2_000_000))
        for content in image.blobs.values():
            scripted.add_blob("slow/app", content)
        scripted.add_manifest("slow/app", image.manifest, "v1", "v2")
        digest, layer = max(image.blobs.items(), key=lambda item: len(item[1]))
        path = f"/v2/slow/app/blobs/{digest}"
        properly = scripted.routes["GET", path][0]
        scripted.on("GET", path, Answer(200, layer[:1_000_000], length=len(layer), stall=True), properly)
        yield started, scripted, layer


def ingested(daemon: Daemon) -> int:
    """Of the layer: what is small may be whole, and not yet in the store."""
    return max(
        (path.stat().st_size for path in (daemon.root / "content" / "ingest").glob("*/data")), default=0
    )


def pullers(daemon: Daemon) -> list[str]:
    return [name for name in daemon.actors() if name.startswith("puller/")]


def test_ctrl_c_ends_a_pull_and_leaves_what_can_be_resumed(slow: tuple[Daemon, ScriptedRegistry, bytes]):
    daemon, scripted, layer = slow
    name = f"{scripted.host}/slow/app:v1"
    with daemon.popen("pull", name) as pull:
        wait_until("half of it is there", lambda: ingested(daemon) > HALF)
        pull.send_signal(signal.SIGINT)
        pull.communicate(timeout=30)
    assert pull.returncode == 130
    wait_until("the puller has ended", lambda: not pullers(daemon), 45)
    snapshots = daemon.client_in_use()
    with snapshots as client:
        listed = client.request("snapshots.list", {"namespace": "default"}, to="snapshots")["snapshots"]
    assert listed == []
    had = ingested(daemon)
    daemon.actr("pull", name)
    ranges = [asked.headers["range"] for asked in scripted.asked if "range" in asked.headers]
    assert ranges == [f"bytes={had}-{len(layer) - 1}"]


def test_whoever_waits_for_a_shared_fetch_takes_it_over(slow: tuple[Daemon, ScriptedRegistry, bytes]):
    daemon, scripted, layer = slow
    with daemon.popen("pull", f"{scripted.host}/slow/app:v1") as first:
        wait_until("half of it is there", lambda: ingested(daemon) > HALF)
        with daemon.popen("pull", f"{scripted.host}/slow/app:v2") as second:
            wait_until("both are at work", lambda: len(pullers(daemon)) == 2)
            first.send_signal(signal.SIGINT)
            first.communicate(timeout=30)
            _, err = second.communicate(timeout=60)
    assert second.returncode == 0, err
    assert len(scripted.requests("GET", f"/v2/slow/app/blobs/{digest_of(layer)}")) == 2


# For nobody


def test_a_puller_that_dies_when_it_has_answered_does_not_begin_again(
    slow: tuple[Daemon, ScriptedRegistry, bytes],
):
    daemon, scripted, layer = slow
    scripted.add_blob("slow/app", layer)
    daemon.actr("pull", f"{scripted.host}/slow/app:v1")
    asked = len(scripted.asked)
    assert [kill(daemon.pid(name)) for name in pullers(daemon)] == [True]
    wait_until("it has come back, and gone", lambda: not pullers(daemon), 45)
    assert len(scripted.asked) == asked


def test_a_router_may_die_during_a_pull_and_a_client_with_it(slow: tuple[Daemon, ScriptedRegistry, bytes]):
    """Who is still there attaches again, and the work has not stopped meanwhile; without anybody, it ends."""
    daemon, scripted, _ = slow
    with daemon.popen("pull", f"{scripted.host}/slow/app:v1") as pull:
        wait_until("half of it is there", lambda: ingested(daemon) > HALF)
        [puller] = pullers(daemon)
        pid, router = daemon.pid(puller), daemon.kill_actor("router")
        wait_until("all is well", lambda: daemon.healed("router", router))
        time.sleep(COMING_BACK + 1)
        assert daemon.pid(puller) == pid
        pull.send_signal(signal.SIGSTOP)  # it is not to attach once more
        daemon.kill_actor("router")
        pull.kill()
        wait_until("nobody wants it", lambda: not pullers(daemon), 45)


# Mirrors


def test_a_mirror_with_wrong_bytes_is_passed_over(registry: Registry, image: Image, tmp: Path):
    """Nothing of what it sent is believed, and the registry itself has the blob."""
    push_with_skopeo(image, registry.host, "mirrored/app")
    digest, layer = max(image.blobs.items(), key=lambda item: len(item[1]))
    hosts = tmp / "hosts" / registry.host
    hosts.mkdir(parents=True)
    with ScriptedRegistry() as mirror:
        path = f"/v2/mirrored/app/blobs/{digest}"
        mirror.on("GET", path, Answer(200, bytes(len(layer))))
        (hosts / "hosts.toml").write_text(f'server = "{registry.url}"\n[host."{mirror.url}"]\n')
        settings = f'[registry]\nhosts = "{hosts.parent}"\ndocker_config = "/nowhere"\n'
        with running(tmp, settings=settings) as daemon:
            daemon.actr("pull", f"{registry.host}/mirrored/app:v1")
            blob = daemon.root / "content" / "blobs" / "sha256" / digest.partition(":")[2]
            assert blob.read_bytes() == layer
        assert len(mirror.requests("GET", path)) == 1


@pytest.mark.parametrize("where", ["data", "part-1"])
def test_wrong_bytes_that_others_have_left_cost_a_pull_nothing_but_them(
    registry: Registry, image: Image, tmp: Path, where: str
):
    """A loss of power leaves zeros at the end of what was being fetched; somebody else, anything."""
    push_with_skopeo(image, registry.host, "resumed/app")
    digest, layer = max(image.blobs.items(), key=lambda item: len(item[1]))
    window = len(layer) // 3
    settings = f'[registry]\nrange_bytes = {window}\nranges_at_once = 4\ndocker_config = "/nowhere"\n'
    with running(tmp, settings=settings) as daemon:
        with daemon.client_in_use() as client:
            wish = {"namespace": "other", "ref": f"blob-{digest}", "digest": digest, "size": len(layer)}
            ingest = Path(client.request("content.open", wish, to="content")["path"]).parent
        (ingest / "window").write_text(str(window))
        (ingest / where).write_bytes(bytes(window))
        daemon.actr("pull", f"{registry.host}/resumed/app:v1")
        blob = daemon.root / "content" / "blobs" / "sha256" / digest.partition(":")[2]
        assert blob.read_bytes() == layer
