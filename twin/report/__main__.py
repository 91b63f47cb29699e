"""`python -m twin.report RUN_DIR`: the report in a process of its own, so that its memory ends with it."""

from __future__ import annotations

import sys
from pathlib import Path

from twin.errors import TwinError
from twin.report.build import build_report


def main() -> int:
    """0 and the file's name, or 2 with what to mend."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m twin.report RUN_DIR\n")
        return 2
    try:
        sys.stdout.write(f"{build_report(Path(sys.argv[1]))}\n")
    except TwinError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
