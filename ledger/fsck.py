"""A published log (tiles) checked whole: the tree is rebuilt from the entries, and every file compared with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ledger import note, tlog
from ledger.errors import LedgerError, NoteError
from ledger.tiles import CHECKPOINT, ENTRIES, HEIGHT, WIDTH, TileReader, folder_fetch, tile_path, tiles_of, unbundled

Hashes = dict[int, list[bytes]]
"""Tile level -> hashes of its complete subtrees."""


def faults(folder: Path, verifier: note.Verifier) -> Iterator[str]:
    """What does not hold: the head's signature, an entry, a tile that is missing or is no part of the tree."""
    try:
        head = _head(folder, verifier)
    except (OSError, NoteError) as error:
        yield f"{CHECKPOINT}: {error}"
        return
    reader = TileReader(folder_fetch(folder), head.size)
    try:
        root, hashes = _rebuilt(reader)
    except LedgerError as error:
        yield str(error)
        return
    if root != head.root:
        yield f"entries: give another root than the one signed at {head.size}"
    yield from _missing(reader)
    for path in sorted(folder.glob("tile/**/*")):
        if path.is_file() and not _belongs(path, path.relative_to(folder / "tile").as_posix(), hashes):
            yield f"{path.relative_to(folder)}: is no part of the tree of the entries"


def _head(folder: Path, verifier: note.Verifier) -> note.Checkpoint:
    parsed = note.Note.parse((folder / CHECKPOINT).read_text(errors="replace"))
    head = note.Checkpoint.parse(parsed.text)
    if head.origin != verifier.name or not parsed.verify([verifier]):
        raise NoteError(f"not signed by {verifier.name}", where=head.origin)
    return head


def _rebuilt(reader: TileReader) -> tuple[bytes, Hashes]:
    frontier = tlog.Frontier()
    hashes: Hashes = {0: []}
    for data in reader.entries():
        leaf = tlog.leaf_hash(data)
        hashes[0].append(leaf)
        for level, _, digest in frontier.push(leaf):
            if level % HEIGHT == 0:
                hashes.setdefault(level // HEIGHT, []).append(digest)
    return frontier.root(), hashes


def _missing(reader: TileReader) -> Iterator[str]:
    for level, index, width in tiles_of(reader.size):
        try:
            reader.get(level, index, width)
        except LedgerError as error:
            yield str(error)


def _belongs(path: Path, name: str, hashes: Hashes) -> bool:
    """Is this file, of the newest or of a smaller head, a part of the tree? Its name says which."""
    level, _, rest = name.partition("/")
    number, _, partial = rest.partition(".p/")
    digits, width = number.replace("/", "").replace("x", ""), partial or str(WIDTH)
    known = level == ENTRIES or (level.isdecimal() and int(level) in hashes)
    if not (known and digits.isdecimal() and width.isdecimal()):
        return False
    if name != tile_path(level, int(digits), int(width)).removeprefix("tile/"):
        return False
    content = path.read_bytes()
    if level == ENTRIES:
        try:
            kept = [tlog.leaf_hash(data) for data in unbundled(content)]
        except LedgerError:
            return False
    else:
        kept = [content[at : at + tlog.HASH_SIZE] for at in range(0, len(content), tlog.HASH_SIZE)]
    of = hashes[0 if level == ENTRIES else int(level)]
    return len(kept) == int(width) and kept == of[int(digits) * WIDTH :][: int(width)]
