"""When to try again: a pure decision on the error, the number of tries and the clock.

Registries say how long they want to be left alone (Retry-After, RFC 9110 section 10.2.3); otherwise waits
double, with jitter so that a hundred hosts do not come back in the same second.
"""

import random
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import TypeVar

from transport.registry.errors import NotReachableError, RegistryError

ATTEMPTS = 6  # tries in all, the first one included
REACH_ATTEMPTS = 3
FIRST_DELAY = 0.5  # seconds
LONGEST_DELAY = 30.0
REACH_DELAY = 0.4
LONGEST_ASKED = 300.0  # a registry may not park us for longer than this
MOST_CUTS = 2000  # of one transfer, each after it had come further
LONGEST_NUMBER = 9  # digits

Result = TypeVar("Result")


def retry_after_seconds(value: str | None, now: float) -> float | None:
    """The wait that a Retry-After header asks for, in seconds from `now` (Unix time); None if none."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:LONGEST_NUMBER]), LONGEST_ASKED)
    try:
        moment = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(moment - now, 0.0), LONGEST_ASKED)


def next_delay(attempt: int, error: RegistryError, now: float, draw: float | None = None) -> float | None:
    """Seconds to wait before the next try, or None to give up.

    `attempt` counts the tries that have failed, from 1; a transfer that moved on starts again at 1. `now` is
    Unix time: what has passed since the error came counts. `draw` in [0, 1) replaces the dice.
    """
    dice = random.random() if draw is None else draw  # noqa: S311 - jitter, not a secret
    if not error.retryable:
        return None
    if isinstance(error, NotReachableError):
        return None if attempt >= REACH_ATTEMPTS else REACH_DELAY * attempt * (1 + dice)
    if attempt >= ATTEMPTS:
        return None
    backoff: float = min(FIRST_DELAY * 2.0 ** (attempt - 1), LONGEST_DELAY) * (0.5 + dice / 2)
    if error.retry_after is None:
        return backoff
    left = error.received_at + min(error.retry_after, LONGEST_ASKED) - now
    # Never earlier than asked; the jitter on top keeps those who were told the same second apart.
    return max(left, 0.0) + min(backoff, 1.0)


def persist(
    operation: Callable[[], Result],
    wait: Callable[[float], object] = time.sleep,
    position: Callable[[], int] = lambda: 0,
) -> Result:
    """Run `operation` until it succeeds or `next_delay` gives up; then its last error is raised.

    `wait` may raise to cancel. An operation that has come further, as `position` tells, has all its attempts
    before it again, `MOST_CUTS` times at most: a registry that always hangs up is left at last.
    """
    attempt = cuts = 0
    while True:
        began = position()
        try:
            return operation()
        except RegistryError as error:
            cuts += 1
            attempt = 1 if position() > began and cuts < MOST_CUTS else attempt + 1
            delay = next_delay(attempt, error, time.time())
            if delay is None:
                raise
        wait(delay)
