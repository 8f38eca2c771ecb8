"""A client of actord: `Client` for plain programs, `actord_client.aio` for asyncio."""

from actord_client.aio import Output, Part
from actord_client.errors import ActordError, ConnectError, ProtocolError, RequestError
from actord_client.sync import Client, Container

__all__ = [
    "ActordError",
    "Client",
    "ConnectError",
    "Container",
    "Output",
    "Part",
    "ProtocolError",
    "RequestError",
]
