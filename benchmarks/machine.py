"""The machine and what else it was doing: a figure without its load says little."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def watched(name: str) -> Iterator[None]:
    """Print machine and load around one benchmark."""
    before = os.getloadavg()[0]
    print(f"## {name}")
    yield
    after = os.getloadavg()[0]
    print(f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}; ", end="")
    print(f"load {before:.2f} before, {after:.2f} after\n")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
