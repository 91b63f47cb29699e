"""build_report: run folder in, report.html out."""

from __future__ import annotations

from pathlib import Path

from twin.report.page import page
from twin.report.sources import gathered


def build_report(run_dir: Path) -> Path:
    """Write run_dir/report.html from what the folder holds and return its path; missing parts are named in it.

    Raises TwinError if the folder holds nothing of a run. Needs tens of MB for a day: run it as
    `python -m twin.report RUN_DIR` where memory counts.
    """
    path = run_dir / "report.html"
    text = page(gathered(run_dir))
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
    return path
