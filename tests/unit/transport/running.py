"""A pump in a thread, and a router's end of its connection that does as a test says."""

import contextlib
import queue
import threading

from transport.envelope import Envelope, note, parse
from transport.pump import Pump
from transport.zmtp import Framing, encode, opening

LIMIT = 20  # seconds that no step needs


class Running:
    """A pump in a thread of its own; what it says goes into queues."""

    def __init__(self, path, address="asker/1"):
        self.arrived, self.welcomes, self.losses = queue.Queue(), queue.Queue(), queue.Queue()
        self.pump = Pump(path, address, self.arrived.put)
        self.pump.on_welcome = lambda: self.welcomes.put(True)
        self.pump.on_disconnect = lambda: self.losses.put(True)
        self.thread = threading.Thread(target=self.pump.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.pump.stop()
        self.thread.join(LIMIT)
        assert not self.thread.is_alive()

    def next(self):
        return self.arrived.get(timeout=LIMIT)

    def inside(self, function):
        """What `function` returns in the pump's thread."""
        got = queue.Queue()
        self.pump.call(lambda: got.put(function()))
        return got.get(timeout=LIMIT)


class Peer:
    """A scripted router's end of one connection."""

    def __init__(self, listener):
        self.socket, _ = listener.accept()
        self.socket.settimeout(LIMIT)
        self._framing = Framing()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def shake_hands(self):
        self.socket.sendall(opening())
        assert self.next().type == "HELLO"
        return self

    def welcome(self):
        self.send(Envelope("WELCOME"))
        return self

    def send(self, *messages):
        self.socket.sendall(b"".join(encode(message.to_frames()) for message in messages))

    def next(self):
        while (frames := self._framing.message()) is None:
            chunk = self.socket.recv(65536)
            assert chunk, "the pump has closed the connection"
            self._framing.feed(chunk)
        return parse(frames)

    def saw_end(self):
        """Whether the pump closes this connection, whatever it sends before."""
        with contextlib.suppress(ConnectionResetError):
            while self.socket.recv(65536):
                pass
        return True


def numbered(number, size=0):
    return note("nobody", "n", {"n": number, "fill": bytes(size)})


def number(message):
    return message.value()["n"]
