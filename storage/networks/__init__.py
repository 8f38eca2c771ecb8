"""Which networks there are, who is on them, and which addresses and ports are taken.

One SQLite file with one writer, the network actor. What is recorded here is wanted; the kernel is made to
agree with it. So an endpoint is recorded before its interface is made, and forgotten after that has gone:
no crash gives an address to two, or frees it twice.
"""

from storage.networks.records import Endpoint, Network, Port
from storage.networks.store import NetworkStore

__all__ = ["Endpoint", "Network", "NetworkStore", "Port"]
