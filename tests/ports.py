"""Ports for those who have to name one before they listen at it."""

import contextlib
import secrets
import socket

FIRST, MANY = 20_000, 10_000
"""Below those that the kernel gives to whoever connects from somewhere (ip_local_port_range)."""


def free_port() -> int:
    """A port of 127.0.0.1 that is nobody's just now; only another one who asks here may take it meanwhile."""
    while True:
        port = FIRST + secrets.randbelow(MANY)
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port
