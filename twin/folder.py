"""The run folder: where a run writes, and what may be replaced."""

from __future__ import annotations

import shutil
from itertools import count
from pathlib import Path

from twin.exits import UsageError

MARK = ".vpptwin-run"
"""Present in every folder made by a run; only such a folder is ever replaced."""


def prepare(out: Path | None, site_id: str, *, force: bool) -> Path:
    """An empty run folder: `out`, or runs/<site>-<n>. Raises UsageError if `out` holds something that must stay."""
    folder = _free(site_id) if out is None else out
    if folder.exists() and not folder.is_dir():
        raise UsageError("is a file, not a folder", where=str(folder), mend="name another --out")
    if folder.exists() and any(folder.iterdir()):
        if not force:
            raise UsageError(
                "the output folder exists and is not empty",
                where=str(folder),
                mend="name another --out, or --force to replace an earlier run",
            )
        if not (folder / MARK).exists():
            raise UsageError(
                "not a run folder of ours, so --force does not replace it", where=str(folder), mend="name another --out"
            )
        shutil.rmtree(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARK).write_text("made by vpptwin run\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"cannot be made: {error.strerror}", where=str(folder), mend="name an --out that can be written"
        ) from error
    return folder


def _free(site_id: str) -> Path:
    return next(folder for n in count(1) if not (folder := Path("runs") / f"{site_id}-{n}").exists())
