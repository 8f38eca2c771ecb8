"""What root may do here: in a user namespace, or with capabilities taken away, less than it seems."""

from pathlib import Path
from typing import Final

EVERYBODY: Final = 2**32 - 1  # user ids that the first namespace has
NEEDED: Final = {"CAP_SYS_ADMIN": 21, "CAP_NET_ADMIN": 12}
"""Without which nothing of a daemon works, by number (capabilities(7)); single things need others."""
_PROC: Final = Path("/proc/self")


def lacking() -> str:
    """What this process lacks of the rights of the host's root; empty for nothing."""
    try:
        mapped = (_PROC / "uid_map").read_text().split()
        status = (_PROC / "status").read_text()
    except OSError:  # no /proc, or a kernel without user namespaces
        return ""
    if mapped[2:3] != [str(EVERYBODY)]:
        return "it is root of a user namespace only"
    effective = int(next(line for line in status.splitlines() if line.startswith("CapEff:")).split()[1], 16)
    missing = [name for name, number in NEEDED.items() if not effective >> number & 1]
    return f"it is root without {' and '.join(missing)}" if missing else ""
