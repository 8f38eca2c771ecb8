"""The HTTP server of the metrics: bounded, and quiet about clients that go away or say nothing."""

import io
import logging
import sys
import threading
from socketserver import ThreadingMixIn
from typing import Any, TextIO
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

AT_ONCE = 16  # requests; a browser holds connections open that it may never use
log = logging.getLogger("metrics")


class Server(ThreadingMixIn, WSGIServer):
    """Several at once, so that one who says nothing does not keep the others waiting."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        super().__init__(address, handler)
        self._room = threading.BoundedSemaphore(AT_ONCE)

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread, if there is room; else the connection is closed."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread can be had
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """To the end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away, or says nothing, is no news; what else there is, is logged."""
        del request, client_address
        if not isinstance(sys.exception(), OSError):
            log.error("a request could not be answered", exc_info=sys.exception())


class _Errors(io.StringIO):
    """Where a traceback would be printed, in lines that are not the log's."""

    def flush(self) -> None:
        """One is complete."""
        if self.getvalue():
            log.error("a request could not be answered", exc_info=sys.exception())
        self.seek(0)
        self.truncate()


class QuietHandler(WSGIRequestHandler):
    """One request; what goes wrong with it is in the log, what goes well is not."""

    timeout = 10  # seconds that a client may take to send its request

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is the base class's
        """A scrape every few seconds is no news."""

    def get_stderr(self) -> TextIO:
        """For what the application raises."""
        return _Errors()
