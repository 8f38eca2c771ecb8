"""A real registry, Debian's docker-registry, on a free port of loopback, and images to fill it with."""

import ctypes
import gzip
import hashlib
import io
import json
import re
import ssl
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from chaos.wires import Machine
from tests.certificates import Certificates
from tests.ports import free_port

PROGRAM = "docker-registry"
START_SECONDS = 20
END_SECONDS = 10
MOST_PORTS = 3
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

_LOG_LINE = re.compile(r'"(?P<method>[A-Z]+) (?P<path>\S+) HTTP/[0-9.]+" (?P<status>\d{3}) (?P<size>\d+)')


@dataclass(frozen=True)
class Served:
    """One line of the access log."""

    method: str
    path: str
    status: int
    size: int  # bytes of the answer's body


class Registry:
    """Runs from `with` to the end of its block; what was pushed stays in `directory`.

    `htpasswd` maps users to passwords, `tls` is the certificate to serve with, `token` what a token server
    says of itself (tests/e2e/token_server.py). `machine` is another network namespace to
    serve in, at port 5000 (chaos/wires.py). `log` is the file with the access log and the registry's own
    messages.
    """

    def __init__(
        self,
        directory: Path,
        htpasswd: dict[str, str] | None = None,
        tls: Certificates | None = None,
        token: dict[str, str] | None = None,
        machine: Machine | None = None,
    ) -> None:
        self.directory = directory
        self.log = directory / "access.log"
        self.host = ""  # 127.0.0.1:port, once it runs
        self._htpasswd = htpasswd
        self._tls = tls
        self._token = token
        self._machine = machine
        self.inside = machine.inside() if machine else []  # what goes before a command that asks it
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}"

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        for _ in range(MOST_PORTS):  # somebody else may take the port between finding and using it
            self.host = f"{self._machine.address}:5000" if self._machine else f"127.0.0.1:{free_port()}"
            self._start()
            if self._wait_until_it_answers():
                return self
            self._end()
        raise RuntimeError(f"{PROGRAM} did not start; see {self.log}")

    def __exit__(self, *_: object) -> None:
        self._end()

    def served(self, method: str = "", path: str = "") -> list[Served]:
        """The requests answered so far, oldest first; `path` is a regular expression found in theirs."""
        found = [
            Served(line["method"], line["path"], int(line["status"]), int(line["size"]))
            for line in _LOG_LINE.finditer(self.log.read_text(errors="replace"))
        ]
        return [one for one in found if method in {"", one.method} and re.search(path, one.path)]

    def _start(self) -> None:
        config = self.directory / "config.yml"
        config.write_text(json.dumps(self._config()))  # JSON is YAML
        with self.log.open("ab") as log:
            words = [*self.inside, PROGRAM, "serve", str(config)]
            self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _config(self) -> dict[str, object]:
        http: dict[str, object] = {"addr": self.host, "secret": "for-tests"}
        if self._tls:
            http["tls"] = {"certificate": str(self._tls.certificate), "key": str(self._tls.key)}
        config: dict[str, object] = {
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": False}},
            "storage": {
                "filesystem": {"rootdirectory": str(self.directory / "data")},
                "delete": {"enabled": True},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": http,
        }
        if self._htpasswd is not None:
            path = self.directory / "htpasswd"
            lines = [f"{user}:{_bcrypt(password)}\n" for user, password in self._htpasswd.items()]
            path.write_text("".join(lines))
            config["auth"] = {"htpasswd": {"realm": "tests", "path": str(path)}}
        if self._token is not None:
            config["auth"] = {"token": self._token}
        return config

    def _wait_until_it_listens(self) -> bool:
        """In its machine, where we are not."""
        address, _, port = self.host.partition(":")
        program = f"import socket; socket.create_connection(({address!r}, {port}), 1).close()"
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and not self._has_ended(0.03):
            words = [*self.inside, sys.executable, "-c", program]
            if not subprocess.run(words, stderr=subprocess.DEVNULL, check=False).returncode:
                return True
        return False

    def _wait_until_it_answers(self) -> bool:
        if self._machine:
            return self._wait_until_it_listens()
        assert self._process is not None
        context = ssl.create_default_context(cafile=str(self._tls.ca)) if self._tls else None
        direct: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if context is not None:
            direct.append(urllib.request.HTTPSHandler(context=context))
        opener = urllib.request.build_opener(*direct)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                with opener.open(f"{self.url}/v2/", timeout=5):
                    return True
            except urllib.error.HTTPError as error:
                error.close()
                return error.code == 401
            except OSError:
                if self._has_ended(0.03):
                    return False
        return False

    def _has_ended(self, seconds: float) -> bool:
        assert self._process is not None
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _end(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        if not self._has_ended(END_SECONDS):
            self._process.kill()
            self._process.wait()
        self._process = None


def _bcrypt(password: str) -> str:
    """The only form that docker-registry accepts."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    hashed: bytes | None = library.crypt(password.encode(), b"$2b$05$abcdefghijklmnopqrstuu")
    assert hashed is not None
    assert hashed.startswith(b"$2b$")
    return hashed.decode()


@dataclass(frozen=True)
class Image:
    """An OCI layout with one image, and what is in it."""

    layout: Path
    tag: str
    manifest: bytes
    blobs: dict[str, bytes]  # by digest: configuration and layers

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def make_image(directory: Path, tag: str, *contents: bytes) -> Image:
    """An image with a layer for each of `contents`, which it holds as a file."""
    tars = [_tar(f"file-{number}", content) for number, content in enumerate(contents)]
    layers = [gzip.compress(tar, 1, mtime=0) for tar in tars]
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/file-0"]},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(tar) for tar in tars]},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": _descriptor(OCI_CONFIG, config),
            "layers": [_descriptor(OCI_LAYER, layer) for layer in layers],
        }
    ).encode()
    image = Image(directory, tag, manifest, {digest_of(blob): blob for blob in (config, *layers)})
    _write_layout(image)
    return image


def _tar(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def _write_layout(image: Image) -> None:
    folder = image.layout / "blobs" / "sha256"
    folder.mkdir(parents=True)
    for content in (image.manifest, *image.blobs.values()):
        (folder / digest_of(content).partition(":")[2]).write_bytes(content)
    (image.layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    entry = {
        **_descriptor(OCI_MANIFEST, image.manifest),
        "annotations": {"org.opencontainers.image.ref.name": image.tag},
    }
    (image.layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))


def skopeo(*words: str, timeout: float = 120) -> str:
    """Run skopeo; its output."""
    done = subprocess.run(["skopeo", *words], check=True, capture_output=True, text=True, timeout=timeout)
    return done.stdout


def push_with_skopeo(image: Image, host: str, repository: str, login: str = "") -> None:
    """Put `image` into a registry, `login` being user:password."""
    more = ["--dest-creds", login] if login else []
    skopeo(
        "copy", "--insecure-policy", "--dest-tls-verify=false", *more,
        f"oci:{image.layout}:{image.tag}", f"docker://{host}/{repository}:{image.tag}",
    )  # fmt: skip
