"""A clock that can be held still, so that several logs agree whether something came in time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Moment:
    """A clock that can be held still, so that the logs agree whether something came in time."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self._held: int | None = None

    def now_us(self) -> int:
        """µs UTC."""
        return self._now_us() if self._held is None else self._held

    @contextmanager
    def held(self) -> Iterator[int]:
        """The time now, for all that is written within."""
        self._held = self._now_us()
        try:
            yield self._held
        finally:
            self._held = None
