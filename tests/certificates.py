"""A certificate authority of a test's own, made with openssl."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Certificates:
    """Paths of PEM files."""

    ca: Path
    certificate: Path
    key: Path


def make_certificates(directory: Path, address: str = "127.0.0.1") -> Certificates:
    """A CA and a certificate of its for a server at `address` (or for a client)."""
    directory.mkdir(parents=True, exist_ok=True)
    new = "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    _openssl(directory, f"{new} -x509 -days 2 -subj /CN=test-ca -keyout ca.key -out ca.pem")
    _openssl(directory, f"{new} -subj /CN=test-server -keyout server.key -out server.csr")
    (directory / "extensions").write_text(f"subjectAltName=IP:{address}\nbasicConstraints=CA:FALSE\n")
    sign = "x509 -req -days 2 -CA ca.pem -CAkey ca.key -CAcreateserial -extfile extensions"
    _openssl(directory, f"{sign} -in server.csr -out server.pem")
    return Certificates(directory / "ca.pem", directory / "server.pem", directory / "server.key")


def _openssl(directory: Path, words: str) -> None:
    command = ["openssl", *words.split()]
    subprocess.run(command, cwd=directory, check=True, capture_output=True, timeout=60)
