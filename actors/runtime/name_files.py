"""/etc/hosts and /etc/resolv.conf of a container with a network: in the bundle, mounted over the image's.

The files are a container's own and it may write to them; they are made anew with each start.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

_LOOPBACK: Final = (
    ("127.0.0.1", "localhost"),
    ("::1", "localhost ip6-localhost ip6-loopback"),
    ("ff02::1", "ip6-allnodes"),
    ("ff02::2", "ip6-allrouters"),
)
_HOST_FILE: Final = Path("/etc/resolv.conf")
_MOST: Final = 64 << 10  # bytes of the host's file that are read


def write(
    bundle: Path, network: Mapping[str, Any], hostname: str, owner: tuple[int, int] = (0, 0)
) -> list[dict[str, Any]]:
    """Write both for what `network.attach` answered, and give their mounts; none without any network.

    `owner` is the container's root, as the host knows it.
    """
    host = not network["path"]
    if not host and not network["hosts"] and not network["nameservers"]:
        return []
    lines = [*_LOOPBACK, *network["hosts"]]
    if host:
        lines.append(("127.0.1.1", hostname))
    hosts = "".join(f"{address}\t{names}\n" for address, names in lines)
    servers = "".join(f"nameserver {one}\n" for one in network["nameservers"]) or _of_the_host()
    return [
        _written(bundle / "hosts", hosts, "/etc/hosts", owner),
        _written(bundle / "resolv.conf", servers, "/etc/resolv.conf", owner),
    ]


def _of_the_host() -> str:
    try:
        with _HOST_FILE.open(encoding="utf-8", errors="replace") as file:
            return file.read(_MOST)
    except OSError:
        return ""


def _written(path: Path, text: str, destination: str, owner: tuple[int, int]) -> dict[str, Any]:
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_text(text)
    temporary.chmod(0o644)
    os.chown(temporary, *owner)
    temporary.rename(path)
    options: Sequence[str] = ("rbind", "rprivate", "rw", "nosuid", "nodev")
    return {"destination": destination, "type": "bind", "source": str(path), "options": list(options)}
