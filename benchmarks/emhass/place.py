"""Where EMHASS's environment is, and how it is said that it is missing."""

from __future__ import annotations

import sys
from pathlib import Path

from controller.errors import ControllerError

HERE = Path(__file__).parent
ENVIRONMENT = HERE / ".venv"
PYTHON = ENVIRONMENT / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
WORKER = HERE / "worker.py"
READY = ENVIRONMENT / ".ready"
"""Written last by the installation."""
MEND = "make emhass (or: python -m benchmarks.emhass.install)"


class EmhassError(ControllerError):
    """EMHASS is missing, failed, or answered something else than a plan: what, where, mend."""


def installed() -> bool:
    """Whether the environment was completely installed."""
    return PYTHON.exists() and READY.exists()
