"""A blob on its way: from any offset, bounded by its descriptor's size, given up when it crawls.

Servers differ in how they answer a range request: with the range, with all of it, with 416, or with something
else. What arrives here is always the bytes asked for, in order, or an error that says how far it came. The
digest is for whoever stores the bytes to verify.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, Self

from transport.registry.connections import Answer
from transport.registry.endpoint import Endpoint
from transport.registry.errors import BadContentError, CutError, InvalidArgumentError, UnavailableError
from transport.registry.exchange import Exchange, Question

CHUNK = 256 << 10  # bytes; chunks are at least this large, but the last, those before a cut
LONGEST_CHUNK = (
    1.0  # and those that take longer than so many seconds: who reads has something else to look at
)
MOST_PIECE = 1 << 20

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes from `start` up to, but not including, `end` of a blob of `size` bytes."""

    start: int
    end: int
    size: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end <= self.size:
            raise InvalidArgumentError(
                f"bytes {self.start} to {self.end} of a blob of {self.size} make no range"
            )

    @property
    def is_whole(self) -> bool:
        """Whether this is all of the blob."""
        return self.start == 0 and self.end == self.size

    @property
    def header(self) -> str:
        """The value of a Range header."""
        return f"bytes={self.start}-{self.end - 1}"


@dataclass(frozen=True, slots=True)
class Pace:
    """The slowest transfer that is put up with: `least` bytes in each `window` seconds."""

    window: float = 60.0
    least: int = 60 << 10
    clock: Callable[[], float] = time.monotonic


class Pieces(Protocol):
    """What bytes come from: an answer of a registry, or another node.

    Attributes:
        status: 206 if the bytes are those of the range that was asked for.
        authority: who sends them.
    """

    status: int
    authority: str

    def piece(self, most: int) -> bytes:
        """The bytes that have arrived, at most `most`; empty at the end. Raises UnavailableError."""

    def close(self) -> None:
        """No more of it is wanted."""


class BlobStream:
    """An iterator of chunks. Close it, or use it in `with`, unless it was read to the end.

    Attributes:
        source: host:port of the endpoint that was asked, to `avoid` should its bytes turn out wrong.
    """

    def __init__(
        self, answer: Pieces | None, span: Span, skip: int, what: str, pace: Pace, source: str
    ) -> None:
        self.source = source
        self.offset = span.start  # of the next byte to be delivered
        # False: the server ignored the range, and what lies outside is transferred and thrown away.
        self.ranged = span.is_whole or answer is None or answer.status == 206
        self._answer = answer
        self._end = span.end
        self._skip = skip
        self._what = what
        self._pace = pace
        self._window_start = pace.clock()
        self._window_bytes = 0
        self._cut: CutError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def close(self) -> None:
        """End the transfer; the connection is kept if everything was read."""
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    def __next__(self) -> bytes:
        """The next chunk.

        Raises:
            CutError: the connection broke, ended early or crawls; everything before was delivered.
        """
        if self._cut is not None:
            raise self._cut
        if self.offset >= self._end or self._answer is None:
            self.close()
            raise StopIteration
        chunk, self._cut = self._gather(self._answer)
        if self._cut is not None:
            self.close()
            if not chunk:
                raise self._cut
        return chunk

    def _gather(self, answer: Pieces) -> tuple[bytes, CutError | None]:
        pieces: list[bytes] = []
        gathered = 0
        cut = None
        until = self._pace.clock() + LONGEST_CHUNK
        while gathered < CHUNK and self.offset < self._end and not (gathered and self._pace.clock() > until):
            try:
                piece = self._piece(answer)
            except UnavailableError as error:
                cut = CutError(f"{self._what} broke off at byte {self.offset}: {error}", self.offset)
                break
            pieces.append(piece)
            gathered += len(piece)
            self.offset += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces), cut

    def _piece(self, answer: Pieces) -> bytes:
        """What has arrived, less what lies before the offset; never more than the descriptor allows."""
        piece = answer.piece(min(MOST_PIECE, self._skip + self._end - self.offset))
        if not piece:
            raise UnavailableError(f"{answer.authority} ended it early; try again")
        self._keep_pace(len(piece), answer.authority)
        skipped = min(self._skip, len(piece))
        self._skip -= skipped
        return piece[skipped:] if skipped else piece

    def _keep_pace(self, count: int, authority: str) -> None:
        """Raise UnavailableError when the last window brought too little, however regularly it dripped."""
        self._window_bytes += count
        now = self._pace.clock()
        if now - self._window_start < self._pace.window:
            return
        if self._window_bytes < self._pace.least:
            raise UnavailableError(f"{authority} sends too slowly; try again")
        self._window_start, self._window_bytes = now, 0


def open_blob(
    exchange: Exchange, endpoint: Endpoint, question: Question, span: Span, pace: Pace
) -> BlobStream:
    """Start the transfer of `span` of the blob that `question` asks for.

    Raises:
        BadContentError: the server's answer contradicts the descriptor's size or the range.
        RegistryError: as `Exchange.ask`.
    """
    if span.start == span.end:
        return BlobStream(None, span, 0, question.what, pace, endpoint.authority)
    answer = _ask(exchange, endpoint, question, span)
    try:
        skip = _place(answer, span, question.what)
    except BadContentError:
        answer.close()
        raise
    return BlobStream(answer, span, skip, question.what, pace, endpoint.authority)


def _ask(exchange: Exchange, endpoint: Endpoint, question: Question, span: Span) -> Answer:
    if span.is_whole:
        return exchange.ask(endpoint, question)
    ranged = replace(question, headers={**question.headers, "Range": span.header})
    answer = exchange.ask(endpoint, ranged, welcome={200, 206, 416})
    if answer.status != 416:
        return answer
    answer.close()  # it cannot do this range: take everything and skip
    return exchange.ask(endpoint, question)


def _place(answer: Answer, span: Span, what: str) -> int:
    """How many bytes to skip until the span begins; checks what the headers claim."""
    if answer.status == 200:
        if answer.length not in {None, span.size}:
            raise BadContentError(f"{what}: the registry has {answer.length} bytes, not {span.size}")
        return span.start
    claim = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
    if claim is None:
        raise BadContentError(f"{what}: the registry sent a part without saying which")
    first, last, total = int(claim[1]), int(claim[2]), claim[3]
    if first != span.start or not first <= last < span.end or total not in {"*", str(span.size)}:
        raise BadContentError(f"{what}: the registry sent {claim[0]} when asked for {span.header}")
    if answer.length not in {None, last + 1 - first}:
        raise BadContentError(f"{what}: the registry sent {claim[0]} with a length of {answer.length}")
    return 0
