"""Where log records go: a run's run.log, JSON lines on stderr for `serve`, plain ones for who watches."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

PACKAGES = ("twin", "devices", "controller", "ledger")
"""Only our own records are kept; what libraries say of retries and sockets is told by our own, in our words."""


@contextmanager
def to_file(path: Path) -> Iterator[None]:
    """Records of our packages go to `path` inside the block."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    with _handled(handler):
        yield


@contextmanager
def as_json_lines() -> Iterator[None]:
    """Records of our packages go to stderr, one JSON object a line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    with _handled(handler):
        yield


@contextmanager
def as_plain_lines() -> Iterator[None]:
    """Records of our packages go to stderr as what they say, for a person who waits for the end."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("   %(message)s"))
    with _handled(handler):
        yield


@contextmanager
def _handled(handler: logging.Handler) -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in PACKAGES]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        row = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            row["trace"] = self.formatException(record.exc_info)
        return orjson.dumps(row).decode()
