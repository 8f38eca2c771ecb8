"""Transfers and their streams, with the calls that `ctr` 2.x makes."""

from __future__ import annotations

import io
import secrets
import tarfile
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
import images
import pytest
from archives import skopeo
from daemon import Daemon, wait_until
from gateway_api import Api, refusal, serving
from registry import Registry
from transfer_client import TRANSFER, Client, Stream, of, packed, sent

from transport.grpc.interface import message

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]
IMAGES: Final = "containerd.services.images.v1.Images"
PART: Final = 300_000  # bytes, less than an archive has
USER, PASSWORD = "porter", "open sesame"


@pytest.fixture
def client(api: Api) -> Client:
    return Client(api)


@pytest.fixture(scope="module")
def guarded(short_root: Path) -> Iterator[str]:
    """An image in a registry that wants a login."""
    directory = Path(tempfile.mkdtemp(prefix="guarded-", dir=short_root))
    with Registry(directory, htpasswd={USER: PASSWORD}) as started:
        layout = images.busybox(directory / "busybox", "latest")
        name = f"{started.host}/guarded/busybox:latest"
        words = ("--dest-tls-verify=false", "--dest-creds", f"{USER}:{PASSWORD}")
        skopeo("copy", "--quiet", *words, f"oci:{layout.directory}:latest", f"docker://{name}")
        yield name


def named(api: Api, name: str) -> Any:
    return api.ask(IMAGES, "Get", name=name).image


def told(client: Client) -> set[tuple[str, str]]:
    return {(one.event, one.name) for one in client.progress}


def test_pull(client: Client, gateway: Daemon, busybox: str):
    client.pull(busybox, labels={"tier": "front"})
    image = named(client.api, busybox)
    assert dict(image.labels)["tier"] == "front"
    assert ("saved", busybox) in told(client)
    assert {"complete", f"Completed pull from OCI Registry ({busybox})"} <= {e for e, _ in told(client)}
    layers = [one for one in client.progress if one.name.startswith("sha256:")]
    assert all(list(one.parents) == [busybox] and one.desc.digest == one.name for one in layers)
    assert busybox in {one["name"] for one in gateway.json("images")}  # one store, whichever API


def test_pull_with_a_login_over_the_stream_for_it(client: Client, guarded: str):
    with pytest.raises(grpc.RpcError):
        client.pull(guarded)
    client.login = (USER, PASSWORD)
    client.pull(guarded)
    assert named(client.api, guarded).target.digest
    assert client.asked[0] == guarded.partition("/")[0]


def test_push_and_tag(client: Client, busybox: str):
    client.pull(busybox)
    copy = f"{busybox.rpartition(':')[0]}-{secrets.token_hex(4)}:pushed"
    client.api.ask(
        TRANSFER,
        "Transfer",
        source=packed(of("ImageStore", name=busybox)),
        destination=packed(of("ImageStore", name=copy)),
    )
    assert named(client.api, copy).target == named(client.api, busybox).target
    client.transfer(of("ImageStore", name=copy), client.registry(copy))
    client.api.ask(IMAGES, "Delete", name=copy, sync=True)
    client.pull(copy)  # from where it was pushed to
    assert named(client.api, copy).target.digest


def test_export_and_import(client: Client, busybox: str):
    client.pull(busybox)
    digest = named(client.api, busybox).target.digest
    archive = client.save(busybox)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert {"index.json", "manifest.json", "oci-layout"} <= set(tar.getnames())
    with tarfile.open(fileobj=io.BytesIO(client.save(busybox, skip_compatibility_manifest=True))) as tar:
        assert "manifest.json" not in tar.getnames()
    other = Client(client.api.within(namespace=f"n{secrets.token_hex(4)}"))
    prefix = of("ImageReference", name="import-2026-11-26", is_prefix=True, allow_overwrite=True)
    other.load(io.BytesIO(archive).read, extra_references=[prefix])
    assert named(other.api, busybox).target.digest == digest
    assert ("saved", busybox) in told(other)


def test_import_names_what_the_client_asks_for(client: Client, busybox: str):
    client.pull(busybox)
    archive = client.save(busybox)
    base = busybox.rpartition(":")[0]
    own = of("ImageReference", name=base, is_prefix=True, add_digest=True)
    other = Client(client.api.within(namespace=f"n{secrets.token_hex(4)}"))
    other.load(io.BytesIO(archive).read, extra_references=[own])
    found = {one.name for one in other.api.ask(IMAGES, "List").images}
    assert found == {busybox, f"{base}@{named(other.api, busybox).target.digest}"}
    strange = of("ImageReference", name="example.org/other", is_prefix=True)
    with pytest.raises(grpc.RpcError, match="names no image"):
        other.load(io.BytesIO(archive).read, extra_references=[strange])


def test_an_import_that_is_cut_off_names_nothing(client: Client, busybox: str):
    """The client dies in the middle: all its calls end."""
    client.pull(busybox)
    archive = io.BytesIO(client.save(busybox))
    other = Client(client.api.within(namespace=f"n{secrets.token_hex(4)}"))
    with pytest.raises(grpc.RpcError):
        other.load(lambda size: archive.read(size) if archive.tell() < PART else b"")
    assert list(other.api.ask(IMAGES, "List").images) == []


def test_a_client_that_vanishes_leaves_nothing_behind(client: Client, gateway: Daemon, busybox: str):
    """In the middle of an import: its job ends, and the gateway has no pipe and no stream of it."""
    client.pull(busybox)
    pid = gateway.pid("grpc")
    before = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    own = Api.at(gateway.state / "containerd.sock")
    stream = Stream(own, "import-1")
    archive, jobs = io.BytesIO(client.save(busybox)), set(gateway.actors())
    fields = {"source": packed(of("ImageImportStream", stream="import-1"))}
    fields["destination"] = packed(of("ImageStore"))
    request = message("containerd.services.transfer.v1.TransferRequest")(**fields)
    call: Any = own.channel.unary_unary(
        f"/{TRANSFER}/Transfer",
        lambda body: body.SerializeToString(),
        message("google.protobuf.Empty").FromString,
    )
    future = call.future(request, metadata=own.header)
    gone = threading.Event()

    def read(size: int) -> bytes:
        if archive.tell() > PART:
            gone.wait(60)
            return b""
        return archive.read(size)

    feeding = threading.Thread(target=sent, args=(stream, read))
    feeding.start()
    job = new_job(gateway, jobs)
    own.channel.close()
    gone.set()
    feeding.join(30)
    assert future.done()
    wait_until("the job has ended", lambda: job not in gateway.actors())
    wait_until("no pipe is left", lambda: len(list(Path(f"/proc/{pid}/fd").iterdir())) <= before)
    assert gateway.pid("grpc") == pid
    assert refusal(lambda: client.api.ask(TRANSFER, "Transfer", **fields))[0] == "NOT_FOUND"


def new_job(daemon: Daemon, known: set[str]) -> str:
    """The job that has been started since; one ends a moment after its work."""

    def fresh() -> list[str]:
        return [name for name in daemon.actors() if name.startswith("job/") and name not in known]

    found: list[str] = wait_until("the job is there", fresh)
    return found[0]


def test_a_job_that_dies_is_said_to_have(client: Client, gateway: Daemon, busybox: str):
    """What went through a pipe does not come again: the client is told, and may do it once more."""
    client.pull(busybox)
    archive, jobs = io.BytesIO(client.save(busybox)), set(gateway.actors())
    killed: list[str] = []

    def read(size: int) -> bytes:
        if archive.tell() > PART and not killed:
            killed.append(new_job(gateway, jobs))
            gateway.kill_actor(killed[0])
        return archive.read(size)

    with pytest.raises(grpc.RpcError, match=r"run it again|is gone|has ended|interrupted"):
        client.load(read)
    archive.seek(0)
    client.load(archive.read)


def test_a_gateway_that_dies_breaks_the_transfer_and_no_more(tmp: Path, busybox: str):
    with serving(tmp) as (daemon, api):
        _kill_in_the_middle(daemon, Client(api), busybox)


def _kill_in_the_middle(daemon: Daemon, client: Client, busybox: str) -> None:
    client.pull(busybox)
    archive, jobs, job = io.BytesIO(client.save(busybox)), set(daemon.actors()), ""

    def read(size: int) -> bytes:
        nonlocal job
        if archive.tell() > PART:
            job = new_job(daemon, jobs)
            daemon.kill_actor("grpc")
            return b""
        return archive.read(size)

    with pytest.raises(grpc.RpcError):
        client.load(read)
    wait_until("the job has ended", lambda: job and job not in daemon.actors())
    archive.seek(0)
    client.load(archive.read)


def test_streams_are_bounded(api: Api):
    streams = [Stream(api, f"s{number}") for number in range(40)]

    def open_more() -> None:
        streams.extend(Stream(api, f"t{number}") for number in range(60))

    assert refusal(open_more)[0] == "RESOURCE_EXHAUSTED"
    for stream in streams:
        stream.call.cancel()
    wait_until("there is room again", lambda: _opens(api))


def _opens(api: Api) -> bool:
    try:
        Stream(api, "again").call.cancel()
    except grpc.RpcError:
        return False
    return True


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (of("Data", data=b"x"), "INVALID_ARGUMENT"),
        (message("containerd.services.streaming.v1.StreamInit")(), "INVALID_ARGUMENT"),
        (message("containerd.services.streaming.v1.StreamInit")(id="x" * 300), "INVALID_ARGUMENT"),
        (message("containerd.types.Mount")(type="x"), "UNIMPLEMENTED"),
    ],
)
def test_a_stream_begins_with_its_id(api: Api, first: Any, code: str):
    assert refusal(lambda: Stream(api, "x", first=packed(first)))[0] == code


def test_what_is_not_understood_is_refused(api: Api):
    broken = message("google.protobuf.Any")(type_url="containerd.types.transfer.ImageStore", value=b"\xff")

    def asked(source: Any, target: Any) -> tuple[str, str]:
        return api.fails(TRANSFER, "Transfer", source=source, destination=target)

    store, registry = packed(of("ImageStore", name="a:b")), packed(of("OCIRegistry", reference="a.b/c:d"))
    assert asked(broken, store)[0] == "INVALID_ARGUMENT"
    assert asked(registry, registry)[0] == "UNIMPLEMENTED"
    assert asked(message("google.protobuf.Any")(type_url="x.Y"), store)[0] == "UNIMPLEMENTED"
    assert asked(store, packed(of("ImageExportStream", stream="nobody's")))[0] == "NOT_FOUND"
    assert asked(packed(of("ImageStore")), registry)[0] in ("INVALID_ARGUMENT", "NOT_FOUND")


def test_the_server_closes_a_stream_that_is_sent_what_it_is_not_for(client: Client, busybox: str):
    """An archive is to come: a login is none."""
    stream = Stream(client.api, "import-1")
    stream.send(of("AuthResponse", secret="x"))
    source, target = of("ImageImportStream", stream="import-1"), of("ImageStore")
    with pytest.raises(grpc.RpcError, match="AuthResponse"):
        client.transfer(source, target)
