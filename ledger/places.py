"""Where things lie in a ledger folder, and how small files are written so that a crash leaves the old or the new."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from pathlib import Path

from ledger.errors import LedgerError, LedgerLocked, LedgerUnreadable

MAIN = "main"
_PARTY = "party"


def ledger_folder(folder: Path) -> Path:
    """The ledger folder, given itself or a run folder that holds it. Raises LedgerUnreadable if there is none."""
    for place in (folder, folder / "ledger"):
        if (place / "logs").is_dir():
            return place
    raise LedgerUnreadable("no ledger here", where=str(folder), mend="name a run folder or a ledger folder")


def database(folder: Path, name: str = MAIN) -> Path:
    """A log's database."""
    return folder / "logs" / name / "ledger.db"


def party(name: str) -> str:
    """The log of a party, below `logs`. Raises LedgerError if its id cannot name a folder."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise LedgerError(f"{name!r} cannot name a log", where="party", mend="letters, digits, _ . -")
    return f"{_PARTY}/{name}"


def logs(folder: Path) -> list[str]:
    """Names of all logs of a ledger folder: the main log, then those of the parties."""
    parties = sorted(path.parent.name for path in (folder / "logs" / _PARTY).glob("*/ledger.db"))
    return [MAIN, *(f"{_PARTY}/{name}" for name in parties)]


def pin(folder: Path, name: str = MAIN) -> Path:
    """The log's last signed head, kept outside its database: it outlives a restored backup of that."""
    return folder / "pins" / f"{name}.note"


def unreadable(folder: Path, name: str, what: str) -> LedgerUnreadable:
    """Why a log cannot be read. One without a head that was ever signed, and without tables or entries, was being
    created when its process was killed: nothing that stood in it was acknowledged.
    """
    path = database(folder, name)
    if pin(folder, name).exists() or not what.startswith(("no such table", NO_GENESIS)):
        return LedgerUnreadable(f"database: {what}", where=str(path), mend="run `ledger verify`")
    stopped = "was stopped while it was created, before its first entry: nothing stands in it"
    mend = f"nothing was settled yet: begin the run again with --force, or remove {folder} and `ledger init` it again"
    return LedgerUnreadable(stopped, where=str(path), mend=mend)


NO_GENESIS = "no genesis"


def keys(folder: Path) -> Path:
    """The folder of the keys."""
    return folder / "keys"


def tiles(folder: Path, name: str = MAIN) -> Path:
    """What is published of a log: a folder that any web server may serve (C2SP tlog-tiles)."""
    return folder / "logs" / name / "tiles"


def policy(folder: Path) -> Path:
    """The policy that says which witnesses must have cosigned a head."""
    return folder / "policy"


def write_whole(path: Path, content: str | bytes, mode: int = 0o600) -> None:
    """Replace a file in one step, durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, mode)
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_pin(path: Path, text: str) -> None:
    """Replace a log's pin in one step, unless it says this already. Called by the log's one writer alone.

    After a crash the old pin or the new one is there, whole. The old one is no harm: it is a head of the same log.
    """
    try:
        if path.read_text() == text:
            return
    except (FileNotFoundError, UnicodeDecodeError):
        path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(handle, text.encode())
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(fresh, path)


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def lock(folder: Path) -> int:
    """Take the one writer's lock of a log's folder; returns the descriptor to close. Raises LedgerLocked."""
    handle = os.open(folder / "writer.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise LedgerLocked(
            "another process writes this log", where=str(folder), mend="stop it, or read only"
        ) from error
    return handle
