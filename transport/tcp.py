"""What both ends of a connection between hosts ask of TCP: a link that is gone is noticed in three seconds.

Measured: with the kernel's defaults a dropped link had not been noticed after nine. With three seconds, a
link of 256 kbit/s that somebody filled was cut time and again, for its losses.
"""

from typing import Final

import zmq

OPTIONS: Final = (
    (zmq.LINGER, 0),
    (zmq.IPV6, 1),
    (zmq.HANDSHAKE_IVL, 4000),  # milliseconds for a peer that only connects
    (zmq.TCP_KEEPALIVE, 1),
    (zmq.TCP_KEEPALIVE_IDLE, 1),
    (zmq.TCP_KEEPALIVE_INTVL, 1),
    (zmq.TCP_KEEPALIVE_CNT, 3),
    (zmq.TCP_MAXRT, 3000),
)
PATIENT: Final = (*OPTIONS, (zmq.TCP_MAXRT, 12_000))
"""Of a daemon's own ends: it has heartbeats by which to tell a slow link from one that is gone."""
