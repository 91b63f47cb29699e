"""Memory of this process."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_mb() -> float:
    """Peak resident memory of this process, MB.

    Linux's own high-water mark where there is one: getrusage also counts what the process had before it became this
    program, so that a day started from a large program would seem to need that much.
    """
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        lines = []
    marks = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    if marks:
        return int(marks[0]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024  # of getrusage: bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1024**2
