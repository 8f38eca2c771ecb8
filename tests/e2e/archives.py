"""Archives as other people's tools write and read them: skopeo, umoci and Debian's containerd."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daemon import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 240


def skopeo(*words: str | Path) -> str:
    """Run skopeo without a policy; its output."""
    return _run("skopeo", "--insecure-policy", *words)


def umoci(*words: str | Path) -> str:
    return _run("umoci", *words)


def _run(*words: str | Path) -> str:
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, timeout=SECONDS, check=False,
        stdin=subprocess.DEVNULL, env={**os.environ, "TMPDIR": "/tmp"},
    )  # fmt: skip
    assert done.returncode == 0, (words, done.stdout[-1000:], done.stderr[-1000:])
    return done.stdout


@dataclass(frozen=True)
class Digests:
    """What makes an image: of its manifest, its config and each layer."""

    manifest: str
    config: str
    layers: tuple[str, ...]
    diff_ids: tuple[str, ...]


def of_layout(directory: Path, tag: str) -> Digests:
    """An image of a layout, read without any tool."""
    index = json.loads((directory / "index.json").read_text())
    key = "org.opencontainers.image.ref.name"
    [entry] = [one for one in index["manifests"] if one.get("annotations", {}).get(key) == tag]

    def read(digest: str) -> bytes:
        content = (directory / "blobs" / digest.replace(":", "/")).read_bytes()
        assert "sha256:" + hashlib.sha256(content).hexdigest() == digest
        return content

    return digests(entry["digest"], json.loads(read(entry["digest"])), read)


def digests(manifest_digest: str, manifest: dict[str, Any], read: Any) -> Digests:
    config = json.loads(read(manifest["config"]["digest"]))
    layers = tuple(one["digest"] for one in manifest["layers"])
    return Digests(manifest_digest, manifest["config"]["digest"], layers, tuple(config["rootfs"]["diff_ids"]))


def of_archive(path: Path, tag: str, work: Path) -> Digests:
    """An image of an OCI archive; the archive is one that a test trusts."""
    work.mkdir()
    _run("tar", "-C", work, "-xf", path)
    return of_layout(work, tag)


class Containerd:
    """Debian's containerd with directories of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._socket = directory / "c.sock"
        self.root = directory / "root"

    @contextlib.contextmanager
    def running(self) -> Iterator[Containerd]:
        config = self._directory / "config.toml"
        self._directory.mkdir()
        # Without CRI, which would want a network and listen on it.
        config.write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
        command = ["containerd", "--config", config, "--root", self.root]
        command += ["--state", self._directory / "state", "--address", self._socket]
        with (self._directory / "log").open("wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_until("containerd listens", self._socket.exists)
            yield self
        finally:
            process.terminate()
            process.wait(20)

    def ctr(self, *words: str | Path) -> str:
        return _run("ctr", "--address", self._socket, *words)

    def digests(self, name: str) -> Digests:
        """An image that it has."""
        for line in self.ctr("images", "ls").splitlines()[1:]:
            if line.split()[0] == name:
                digest = line.split()[2]
                manifest = json.loads(self.ctr("content", "get", digest))
                return digests(digest, manifest, lambda one: self.ctr("content", "get", one))
        raise AssertionError(f"containerd has no {name}")
