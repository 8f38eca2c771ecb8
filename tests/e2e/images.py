"""Real images for tests and benchmarks, made from Debian's own packages without a registry on the internet.

An image is written as an OCI layout (image-spec, "image layout") and pushed with skopeo, so that what actord
pulls was never touched by actord's own code. Layers are deterministic: sorted, one fixed time, gzip level 6
without a name or time in its header.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

EPOCH: Final = 1_700_000_000  # the time of every file in every layer
PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ROOT: Final = Path(__file__).resolve().parents[2]
CHUNK: Final = 1 << 20

INDEX: Final = "application/vnd.oci.image.index.v1+json"
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
PLAIN_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"

Json = dict[str, Any]


class _Sink(Protocol):
    def write(self, data: bytes, /) -> int: ...


class _Digesting(io.RawIOBase):
    """A write-only file that also computes the sha256 and the size of what passes through it."""

    def __init__(self, target: _Sink) -> None:
        self._target = target
        self._sha256 = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._sha256.update(data)
        self.size += len(data)
        return self._target.write(data)

    @property
    def digest(self) -> str:
        return "sha256:" + self._sha256.hexdigest()


class Layout:
    """An OCI layout in a directory: blobs by digest, and names for manifests or indexes in index.json."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._blobs = directory / "blobs" / "sha256"
        self._blobs.mkdir(parents=True, exist_ok=True)
        (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def add_blob(self, data: bytes, media_type: str) -> Json:
        """Store DATA and return its descriptor."""
        encoded = hashlib.sha256(data).hexdigest()
        (self._blobs / encoded).write_bytes(data)
        return {"mediaType": media_type, "digest": "sha256:" + encoded, "size": len(data)}

    def path(self, digest: str) -> Path:
        """Where a blob is."""
        return self.directory / "blobs" / digest.replace(":", "/")

    def add_json(self, value: Json, media_type: str) -> Json:
        """Store VALUE as JSON and return its descriptor."""
        return self.add_blob(json.dumps(value, separators=(",", ":")).encode(), media_type)

    def add_layer(self, write: Callable[[tarfile.TarFile], None]) -> tuple[Json, str]:
        """Store the tar that WRITE fills, compressed; return its descriptor and diff ID."""
        with tempfile.NamedTemporaryFile(dir=self._blobs, delete=False) as file:
            blob = _Digesting(file)
            with gzip.GzipFile("", "wb", compresslevel=6, fileobj=blob, mtime=0) as packed:
                plain = _Digesting(packed)
                with tarfile.open(fileobj=plain, mode="w|", format=tarfile.GNU_FORMAT, bufsize=CHUNK) as tar:
                    write(tar)
        path = Path(file.name)
        path.chmod(0o644)
        path.replace(self._blobs / blob.digest.removeprefix("sha256:"))
        return {"mediaType": LAYER, "digest": blob.digest, "size": blob.size}, plain.digest

    def add_plain_layer(self, size: int) -> tuple[Json, str]:
        """Store a tar, not compressed, with one file of SIZE bytes that no compression makes smaller."""
        with tempfile.NamedTemporaryFile(dir=self._blobs, delete=False) as file:
            blob = _Digesting(file)
            with (
                tarfile.open(fileobj=blob, mode="w|", format=tarfile.GNU_FORMAT, bufsize=CHUNK) as tar,
                Path("/dev/urandom").open("rb") as noise,
            ):
                tar.addfile(file_entry(f"noise-{os.urandom(4).hex()}", size), noise)
        path = Path(file.name)
        path.chmod(0o644)
        path.replace(self._blobs / blob.digest.removeprefix("sha256:"))
        return {"mediaType": PLAIN_LAYER, "digest": blob.digest, "size": blob.size}, blob.digest

    def add_image(
        self, layers: Sequence[tuple[Json, str]], config: Json, architecture: str = "amd64"
    ) -> Json:
        """Store configuration and manifest over LAYERS (descriptor and diff ID each).

        CONFIG is the object named "config" inside the image configuration; the rest is made here.
        """
        platform = {"architecture": architecture, "os": "linux"}
        image = {
            **platform,
            "created": "2023-11-14T22:13:20Z",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]},
            "history": [{"created_by": f"layer {number}"} for number in range(len(layers))],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.add_json(image, CONFIG),
            "layers": [descriptor for descriptor, _ in layers],
        }
        return {**self.add_json(manifest, MANIFEST), "platform": platform}

    def add_index(self, manifests: Sequence[Json]) -> Json:
        """Store an image index that offers MANIFESTS, one for each platform."""
        return self.add_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(manifests)}, INDEX)

    def tag(self, name: str, target: Json) -> None:
        """Name TARGET (a manifest or an index) in index.json, in place of what had this name."""
        path = self.directory / "index.json"
        entries = json.loads(path.read_text())["manifests"] if path.exists() else []
        key = "org.opencontainers.image.ref.name"
        kept = [entry for entry in entries if entry["annotations"][key] != name]
        kept.append({**target, "annotations": {key: name}})
        path.write_text(json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": kept}))


def push(layout: Layout, tag: str, reference: str, inside: Sequence[str] = ()) -> None:
    """Push TAG of LAYOUT to REFERENCE (host:port/name:tag) over plain HTTP, with every platform it has.

    INSIDE goes before the command.
    """
    source = f"oci:{layout.directory}:{tag}"
    command = ["skopeo", "--insecure-policy", "copy", "--quiet", "--all", "--dest-tls-verify=false", source]
    words = [*inside, *command, f"docker://{reference}"]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL, timeout=600)


def busybox_binary() -> Path:
    """The static busybox that bin/setup made sure of."""
    own = ROOT / ".venv" / "bin" / "busybox"
    found = str(own) if own.exists() else shutil.which("busybox")
    if found is None:
        raise FileNotFoundError("no static busybox: run bin/setup")
    return Path(found)


def busybox(
    directory: Path,
    tag: str = "latest",
    platforms: Sequence[str] = (),
    config: Json | None = None,
    extra: Callable[[tarfile.TarFile], None] | None = None,
) -> Layout:
    """A busybox image under TAG in the layout DIRECTORY.

    Without PLATFORMS the tag names a manifest for amd64. With some (such as "amd64", "arm64") it names an
    index with one manifest each; all hold the same amd64 program and differ in a label. CONFIG is laid over
    the image configuration (its keys are those of the image-spec: Cmd, Env, ...). EXTRA may add entries to
    the layer.
    """
    layout = Layout(directory)
    layer = layout.add_layer(lambda tar: write_busybox(tar, extra))
    base = {"Cmd": ["sh"], "Env": [PATH], "WorkingDir": "/", **(config or {})}
    images = []
    for architecture in platforms or ("amd64",):
        labels = {"org.example.test": "busybox", "org.example.architecture": architecture}
        merged = {**base, "Labels": {**labels, **base.get("Labels", {})}}
        images.append(layout.add_image([layer], merged, architecture))
    layout.tag(tag, layout.add_index(images) if platforms else images[0])
    return layout


def directory_entry(name: str, mode: int = 0o755) -> tarfile.TarInfo:
    """The tar entry of a directory."""
    return _entry(name, tarfile.DIRTYPE, mode)


def symlink_entry(name: str, target: str) -> tarfile.TarInfo:
    """The tar entry of a symbolic link to TARGET."""
    entry = _entry(name, tarfile.SYMTYPE, 0o777)
    entry.linkname = target
    return entry


def file_entry(name: str, size: int) -> tarfile.TarInfo:
    """The tar entry of a regular file of SIZE bytes."""
    entry = _entry(name, tarfile.REGTYPE, 0o644)
    entry.size = size
    return entry


def add_file(tar: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    """Add a regular file that holds DATA."""
    entry = _entry(name, tarfile.REGTYPE, mode)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = kind, mode, EPOCH
    entry.uname = entry.gname = "root"
    return entry


PASSWD: Final = b"""root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
GROUP: Final = b"root:x:0:\ndaemon:x:1:\nadm:x:4:daemon\nwww-data:x:33:\nusers:x:100:\nnogroup:x:65534:\n"


def write_busybox(tar: tarfile.TarFile, extra: Callable[[tarfile.TarFile], None] | None = None) -> None:
    """The entries of a busybox root."""
    binary = busybox_binary()
    for name in ("bin", "dev", "etc", "home", "proc", "sbin", "sys", "usr", "usr/bin", "usr/sbin", "var"):
        tar.addfile(directory_entry(name))
    tar.addfile(directory_entry("root", 0o700))
    tar.addfile(directory_entry("tmp", 0o1777))
    add_file(tar, "bin/busybox", binary.read_bytes(), 0o755)
    for name in _applets(binary):
        tar.addfile(symlink_entry(name, "/bin/busybox"))
    add_file(tar, "etc/group", GROUP)
    add_file(tar, "etc/passwd", PASSWD)
    add_file(tar, "etc/shadow", b"root:*:19000:0:99999:7:::\n", 0o640)
    if extra is not None:
        extra(tar)


def _applets(binary: Path) -> list[str]:
    listing = subprocess.run([binary, "--list-full"], check=True, capture_output=True, text=True).stdout
    return sorted(name for name in listing.split() if "/" in name and name != "bin/busybox")


def debian_in(layout: Layout, count: int, work: Path) -> None:
    """The Debian of `debian()` cut into COUNT layers, under that tag in LAYOUT. WORK is a new directory."""
    source = debian()
    key = "org.opencontainers.image.ref.name"
    entries = json.loads((source.directory / "index.json").read_text())["manifests"]
    [entry] = [one for one in entries if one["annotations"][key] == "1"]
    [layer] = json.loads(source.path(entry["digest"]).read_bytes())["layers"]
    work.mkdir()
    subprocess.run(["tar", "-C", work, "-xzf", source.path(layer["digest"])], check=True, timeout=120)
    paths = list(_walk(work, skip=work / "dev"))
    cuts = [len(paths) * number // count for number in range(count + 1)]
    parts = [paths[start:end] for start, end in pairwise(cuts)]
    stored = [layout.add_layer(partial(_write_tree, work, part)) for part in parts]
    layout.tag(str(count), layout.add_image(stored, {"Cmd": ["bash"], "Env": [PATH]}))
    shutil.rmtree(work)


def debian() -> Layout:
    """A minimal Debian, 206 MB in 5,300 files, 93 MB compressed: tag "1" in one layer, "10" in ten.

    debootstrap fetches it from the mirror that this machine's apt uses; that takes half a minute. Both forms
    are then kept in ACTORD_TEST_CACHE (default /var/cache/actord-tests). The root keeps apt's lists and
    packages, as debootstrap leaves it: they are half of the compressed size and make it a common one.
    """
    cache = Path(os.environ.get("ACTORD_TEST_CACHE", "/var/cache/actord-tests"))
    ready = cache / "debian-v1"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            _make_debian(cache / "debian.making", ready)
    return Layout(ready)


def _make_debian(work: Path, ready: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)  # what an interrupted run has left
    root, suite = work / "root", _os_release()["VERSION_CODENAME"]
    # In a mount namespace of its own, so that no mount of an interrupted debootstrap outlives it.
    command = ["unshare", "--mount", "debootstrap", "--variant=minbase", suite, str(root), _mirror(suite)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=600)
    layout = Layout(work / "layout")
    paths = list(_walk(root, skip=root / "dev"))
    for count in (1, 10):
        stored = [layout.add_layer(partial(_write_tree, root, part)) for part in _split(paths, count)]
        layout.tag(str(count), layout.add_image(stored, {"Cmd": ["bash"], "Env": [PATH]}))
    layout.directory.rename(ready)
    shutil.rmtree(work)


def _os_release() -> dict[str, str]:
    lines = Path("/etc/os-release").read_text().splitlines()
    return {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}


def _mirror(suite: str) -> str:
    """The first address from which apt gets SUITE, from one-line and deb822 source lists."""
    apt = Path("/etc/apt")
    for path in [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.list"))]:
        pattern = rf"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+{suite}\s+.*\bmain\b"
        if path.exists() and (found := re.search(pattern, path.read_text(), re.MULTILINE)):
            return found[1]
    for path in sorted((apt / "sources.list.d").glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", path.read_text()):
            fields = dict(re.findall(r"^(\w[\w-]*):\s*(.*)$", stanza, re.MULTILINE))
            if suite in fields.get("Suites", "").split() and "main" in fields.get("Components", ""):
                return str(fields["URIs"].split()[0])
    raise LookupError(f"no apt source offers {suite} main: add one to /etc/apt/sources.list")


def _walk(directory: Path, skip: Path) -> Iterator[Path]:
    """Every path below DIRECTORY, parents first, sorted. Of SKIP only itself: a runtime fills /dev anew."""
    for path in sorted(directory.iterdir()):
        yield path
        if path.is_dir() and not path.is_symlink() and path != skip:
            yield from _walk(path, skip)


def _split(paths: Sequence[Path], count: int) -> list[list[Path]]:
    """PATHS in COUNT runs of about equal bytes, in order: no directory comes later than its files."""
    left = sum(path.lstat().st_size for path in paths)
    parts: list[list[Path]] = [[]]
    taken = 0
    for path in paths:
        # The share is taken anew for each part, since one large file may use up those of several.
        if parts[-1] and taken >= left / (count - len(parts) + 1) and len(parts) < count:
            parts.append([])
            left, taken = left - taken, 0
        parts[-1].append(path)
        taken += path.lstat().st_size
    return parts


def _write_tree(root: Path, paths: Iterable[Path], tar: tarfile.TarFile) -> None:
    for path in paths:
        entry = tar.gettarinfo(path, str(path.relative_to(root)))
        entry.mtime, entry.uname, entry.gname = EPOCH, "", ""
        if entry.isreg():
            with path.open("rb") as file:
                tar.addfile(entry, file)
        else:
            tar.addfile(entry)
