"""A log as static files (C2SP tlog-tiles): hash tiles of 256, bundles of 256 entries, and the signed `checkpoint`.

`tile/<level>/<index>` holds the hashes of 256 subtrees of 256^level leaves, `tile/entries/<index>` the entries, each
after its length (2 bytes, big endian); the rightmost of each is partial and named `<index>.p/<width>`. Whoever has
these files and the log's key can check all of the log, and prove anything about it, without the log's server.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from urllib.request import urlopen

from ledger import note, places, tlog
from ledger.errors import LedgerForked, TileError
from ledger.store import Store

WIDTH = 256
HEIGHT = 8
ENTRIES = "entries"
CHECKPOINT = "checkpoint"
MODE = 0o644
MAX_TILE = WIDTH * (2 + 0xFFFF)
"""A bundle of 256 entries of the largest length."""

Fetch = Callable[[str], bytes]
"""Path below the prefix -> content. Raises OSError (or a LedgerError) if there is no such file."""


def tile_path(level: int | str, index: int, width: int = WIDTH) -> str:
    """`tile/0/x001/x234/067`, with `.p/<width>` if the tile is partial."""
    digits = [f"{index % 1000:03d}"]
    while index := index // 1000:
        digits.append(f"x{index % 1000:03d}")
    partial = "" if width == WIDTH else f".p/{width}"
    return f"tile/{level}/{'/'.join(reversed(digits))}{partial}"


def tiles_of(size: int, since: int = 0) -> Iterator[tuple[int, int, int]]:
    """(level, index, width) of all hash tiles of a tree, but not those that a tree of `since` leaves has full."""
    level, hashes, old = 0, size, since
    while hashes:
        for index in range(old // WIDTH, hashes // WIDTH):
            yield level, index, WIDTH
        if hashes % WIDTH:
            yield level, hashes // WIDTH, hashes % WIDTH
        level, hashes, old = level + 1, hashes // WIDTH, old // WIDTH


def publish(store: Store, folder: Path, signed: str) -> int:
    """Write what a signed head needs below `folder`, then the head itself, in one step; returns the files written.

    Raises LedgerForked if what is published already is larger, or is not a part of this tree.
    """
    head = note.Checkpoint.parse(note.Note.parse(signed).text)
    since = published(store, folder, head)
    written = write_tiles(store, folder, head.size, since)
    places.write_whole(folder / CHECKPOINT, signed, MODE)
    return written


def write_tiles(store: Store, folder: Path, size: int, since: int = 0) -> int:
    """The tiles of a tree of `size` leaves, without a head: nobody should believe them yet."""
    written = 0
    for level, index, width in tiles_of(size, since):
        start = index * WIDTH
        _write(folder, level, index, store.hashes(level * HEIGHT, start, start + width))
        written += 1
        if level == 0:
            entries = store.entries(start, start + width)
            _write(folder, ENTRIES, index, [struct.pack(">H", len(data)) + data for data in entries])
            written += 1
    return written


def _write(folder: Path, level: int | str, index: int, parts: Sequence[bytes]) -> None:
    path = folder / tile_path(level, index, len(parts))
    if not path.exists():
        places.write_whole(path, b"".join(parts), MODE)
    if len(parts) == WIDTH:
        shutil.rmtree(path.with_name(f"{path.name}.p"), ignore_errors=True)


def published(store: Store, folder: Path, head: note.Checkpoint) -> int:
    """Size of the head published already. Raises LedgerForked if this head does not extend it."""
    try:
        text = (folder / CHECKPOINT).read_text()
    except FileNotFoundError:
        return 0
    before = note.Checkpoint.parse(note.Note.parse(text).text)
    root = tlog.range_hash(store.node, 0, before.size) if 0 < before.size <= head.size else b""
    if before.size and (before.origin, before.root) != (head.origin, root):
        raise LedgerForked(
            f"published is a head of {before.size} that {head.size} entries do not extend",
            where=str(folder),
            mend="run `ledger verify`; publish into an empty folder only if that log is another one",
        )
    return before.size


class TileReader:
    """A published log, read through `fetch`. Nothing is believed: `root` and `entries` are checked by whoever asks."""

    def __init__(self, fetch: Fetch, size: int) -> None:
        self.size = size
        self._fetch = fetch
        self._tile = lru_cache(maxsize=1024)(self._read)

    def node(self, level: int, index: int) -> bytes:
        """Hash of a complete subtree, computed from the tile that holds its parts; for tlog's proofs."""
        start = (index << level) >> (level // HEIGHT * HEIGHT)
        count = 1 << level % HEIGHT
        hashes = self._tile(level // HEIGHT, start // WIDTH)[start % WIDTH : start % WIDTH + count]
        if len(hashes) != count:
            raise TileError(f"no subtree {index} of level {level} in {self.size} entries", where="tiles")
        return tlog.root(hashes)

    def root(self) -> bytes:
        """The root that the published hashes give."""
        return tlog.range_hash(self.node, 0, self.size) if self.size else tlog.EMPTY

    def entries(self, start: int = 0) -> Iterator[bytes]:
        """Entries from `start` to the size. Raises TileError if a bundle is missing or cut."""
        for index in range(start // WIDTH, -(-self.size // WIDTH)):
            width = min(WIDTH, self.size - index * WIDTH)
            bundle = self.get(ENTRIES, index, width)
            parts = unbundled(bundle)
            if len(parts) != width:
                raise TileError(f"holds {len(parts)} entries, not {width}", where=tile_path(ENTRIES, index, width))
            yield from parts[max(0, start - index * WIDTH) :]

    def _read(self, level: int, index: int) -> tuple[bytes, ...]:
        hashes = self.size >> (level * HEIGHT)
        width = min(WIDTH, hashes - index * WIDTH)
        data = self.get(level, index, width)
        if len(data) != width * tlog.HASH_SIZE:
            raise TileError(f"{len(data)} bytes, not {width} hashes", where=tile_path(level, index, width))
        return tuple(data[at : at + tlog.HASH_SIZE] for at in range(0, len(data), tlog.HASH_SIZE))

    def get(self, level: int | str, index: int, width: int) -> bytes:
        """A tile or bundle as published; a partial one may have been replaced by the full one it grew into."""
        where = tile_path(level, index, width)
        try:
            return self._fetch(where)
        except OSError as error:
            if width == WIDTH:
                raise TileError(f"cannot be read: {error}", where=where, mend="publish the tiles again") from error
        try:
            full = self._fetch(tile_path(level, index))
        except OSError as error:
            raise TileError(f"cannot be read: {error}", where=where, mend="publish the tiles again") from error
        if level == ENTRIES:
            return b"".join(struct.pack(">H", len(part)) + part for part in unbundled(full)[:width])
        return full[: width * tlog.HASH_SIZE]


def unbundled(bundle: bytes) -> list[bytes]:
    """The entries of a bundle. Raises TileError if it is cut within one."""
    parts, at = [], 0
    while at < len(bundle):
        (length,) = struct.unpack_from(">H", bundle, at) if at + 2 <= len(bundle) else (len(bundle),)
        if at + 2 + length > len(bundle):
            raise TileError("a bundle of entries is cut", where="tiles")
        parts.append(bundle[at + 2 : at + 2 + length])
        at += 2 + length
    return parts


def folder_fetch(folder: Path) -> Fetch:
    """Reads tiles from a folder."""
    return lambda path: (folder / path).read_bytes()


def prefix_fetch(prefix: str, timeout_s: float = 10.0) -> Fetch:
    """Reads tiles from a folder, or below an http(s) address."""
    if not prefix.startswith(("http://", "https://")):
        return folder_fetch(Path(prefix))

    def fetch(path: str) -> bytes:
        with urlopen(f"{prefix.rstrip('/')}/{path}", timeout=timeout_s) as response:
            data: bytes = response.read(MAX_TILE + 1)
        if len(data) > MAX_TILE:
            raise TileError(f"more than {MAX_TILE} bytes", where=path)
        return data

    return fetch
