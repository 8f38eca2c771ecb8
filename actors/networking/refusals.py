"""What the kernel or nft said, as the wire has it."""

from typing import Any

from actors.linux import nft
from transport.errors import RemoteError


def refused(result: Any) -> Exception | None:
    """The error that somebody is told of a result; None when all is well."""
    if isinstance(result, OSError):
        return RemoteError("failed_precondition", f"network: {result.strerror or result}", outcome="unknown")
    if isinstance(result, nft.MissingError):
        return RemoteError("failed_precondition", str(result), outcome="done")
    if isinstance(result, nft.FilterError):
        return RemoteError("unavailable", str(result), outcome="unknown")
    return result if isinstance(result, Exception) else None
