"""`python -m benchmarks.emhass.install`: EMHASS and what it needs, pinned, into benchmarks/emhass/.venv (1.1 GB)."""

from __future__ import annotations

import subprocess
import venv

from benchmarks.emhass.place import ENVIRONMENT, HERE, MEND, PYTHON, READY, EmhassError, installed

QUIET = ("--quiet", "--disable-pip-version-check")


def install() -> None:
    """Build the environment anew unless it is there. Raises EmhassError when pip fails."""
    if installed():
        return
    venv.create(ENVIRONMENT, with_pip=True, clear=True)
    wanted = ("-c", str(HERE / "constraints.txt"), "-r", str(HERE / "requirements.txt"))
    done = subprocess.run([str(PYTHON), "-m", "pip", "install", *QUIET, *wanted], check=False)
    if done.returncode:
        raise EmhassError(f"pip ended with {done.returncode}; see what it said above, then again: {MEND}")
    READY.touch()


if __name__ == "__main__":
    install()
