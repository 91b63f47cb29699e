"""Peak memory is that of the process itself."""

from __future__ import annotations

import subprocess
import sys

from twin.memory import peak_mb

PRINTED = "from twin.memory import peak_mb; print(peak_mb())"


def test_what_the_parent_needed_is_not_counted() -> None:
    held = bytearray(b"x" * 300_000_000)
    assert peak_mb() > 300 * 0.95
    child = subprocess.run([sys.executable, "-c", PRINTED], capture_output=True, text=True, check=True)
    assert 1 < float(child.stdout) < 150, "a bare interpreter"
    assert len(held) == 300_000_000
