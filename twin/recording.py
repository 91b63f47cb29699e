"""RUN/recording/log.bin: every reading and every command in order of arrival, for replay.

File: MAGIC, then frames. Frame: length, CRC-32 and sequence number (little endian), then the payload (msgpack).
Frame 0 is the header (format version, site), the last frame of a log closed in order is the end mark. The CRC covers
sequence number and payload. A log cut anywhere is read up to its last whole frame.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from devices.readings import Quality, Reading
from twin.errors import TwinError
from twin.store.batching import BatchThread, OnFull

MAGIC = b"vpptwin recording\n"
VERSION = 1
_HEAD = struct.Struct("<IIQ")
_MAX_BYTES = 1 << 24


class RecordingError(TwinError):
    """A recording cannot be written or read as asked."""


class Header(msgspec.Struct, frozen=True, array_like=True, tag="h"):
    """First frame."""

    version: int
    site: str


class ReadingFrame(msgspec.Struct, frozen=True, array_like=True, tag="r", gc=False):
    """A reading as it was received. `t_recv_us` is for replay order only: it enters no plan, price or ledger entry."""

    t_recv_us: int
    kind: str
    device: str
    ts_us: int
    seq: int
    quality: int
    values: dict[str, float | int]

    @classmethod
    def of(cls, reading: Reading, kind: str, t_recv_us: int) -> ReadingFrame:
        """The frame of a reading."""
        quality = int(reading.quality)
        return cls(t_recv_us, kind, reading.device, reading.ts_us, reading.seq, quality, dict(reading.values))

    @property
    def reading(self) -> Reading:
        """The reading in it."""
        return Reading(self.device, self.ts_us, self.seq, Quality(self.quality), self.values)


class CommandFrame(msgspec.Struct, frozen=True, array_like=True, tag="c", gc=False):
    """A setpoint transition and what the device read back (see twin.store.CommandRow)."""

    t_recv_us: int
    device: str
    ts_us: int
    control: str
    value: float | None
    state: str
    reason: str = ""
    plan: str = ""
    readback: float | None = None


class EndFrame(msgspec.Struct, frozen=True, array_like=True, tag="e"):
    """Written by close(): nothing is missing before it."""

    frames: int
    """Readings and commands since the log began."""
    dropped: int
    """Frames the last writer had to refuse or lost."""


Frame = ReadingFrame | CommandFrame
_DECODER = msgspec.msgpack.Decoder(Header | ReadingFrame | CommandFrame | EndFrame)


class End(msgspec.Struct, frozen=True):
    """Where a recording ends and whether that is its proper end."""

    complete: bool
    """True if the log was closed in order and is whole."""
    frames: int
    """Readings and commands that can be read."""
    offset: int
    """Bytes that hold them."""
    last_ts_us: int | None
    """Time stamp of the last of them."""
    why: str
    """In words."""


class RecordingWriter:
    """Writes frames from its own thread; continues a log that was cut after its last whole frame."""

    def __init__(self, path: Path, *, site: str, interval_s: float = 0.5, on_full: OnFull = "drop") -> None:
        self.path, self._site = path, site
        self._file: io.FileIO | None = None
        self._seq = self._frames = self._size = 0
        self._encoder = msgspec.msgpack.Encoder()
        self._thread: BatchThread[Frame] = BatchThread(
            "recording", self._commit, (OSError,), interval_s=interval_s, on_full=on_full
        )

    def start(self) -> None:
        """Open the file, making its folder. Raises RecordingError."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists() and self.path.stat().st_size:
                self._resume()
            else:
                self._file = io.FileIO(self.path, "w")
                self._append(self._file, MAGIC + self._framed(Header(VERSION, self._site)))
        except OSError as error:
            raise RecordingError(
                f"cannot be written: {error.strerror}", where=str(self.path), mend="check folder and rights"
            ) from error
        self._thread.start()

    def write(self, frames: Sequence[Frame]) -> int:
        """Queue frames; returns how many were taken (fewer when the queue is full and on_full is `drop`)."""
        return self._thread.put(frames)

    def flush(self) -> None:
        """Block until everything queued so far is in the file. Raises StoreError if frames were lost."""
        self._thread.flush()

    def close(self) -> None:
        """Write the rest and the end mark. Raises StoreError if frames were lost."""
        if self._file is None:
            return
        file = self._file
        try:
            self._thread.close()
        finally:
            self._file = None
            with file:
                self._append(file, self._framed(EndFrame(self._frames, self._thread.dropped)))

    @property
    def dropped(self) -> int:
        """Frames that were refused or lost."""
        return self._thread.dropped

    def _resume(self) -> None:
        found = Recording(self.path)
        self._frames = sum(1 for _ in found)
        self._seq = found.frames_seen
        self._file = io.FileIO(self.path, "r+")
        self._size = found.end.offset
        self._file.truncate(self._size)
        self._file.seek(self._size)

    def _commit(self, batch: Sequence[Frame]) -> None:
        file = self._file
        assert file is not None, "start() opens the file before the thread runs"
        seq = self._seq
        try:
            self._append(file, b"".join([self._framed(frame) for frame in batch]))
        except OSError:
            self._seq = seq
            raise
        self._frames += len(batch)

    def _append(self, file: io.FileIO, data: bytes) -> None:
        """All of `data` or, when the disk refuses, none of it."""
        view = memoryview(data)
        try:
            while view:
                view = view[file.write(view) :]
        except OSError:
            file.seek(self._size)
            file.truncate(self._size)
            raise
        self._size += len(data)

    def _framed(self, frame: Frame | Header | EndFrame) -> bytes:
        payload = self._encoder.encode(frame)
        seq = self._seq
        self._seq += 1
        crc = zlib.crc32(payload, zlib.crc32(seq.to_bytes(8, "little")))
        return _HEAD.pack(len(payload), crc, seq) + payload


class Recording:
    """A log to read: iterate it for its frames in order of writing, then see `end`.

    Raises RecordingError at once if the file is missing, no recording, or of a newer format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._end: End | None = None
        self.frames_seen = 0
        """Frames of all sorts read by the last full pass."""
        first = next(self._whole(), None)
        if first is None or not isinstance(first[0], Header):
            raise RecordingError("is cut inside its header", where=str(path), mend="nothing of it can be replayed")
        self.header = first[0]
        if self.header.version > VERSION:
            raise RecordingError(
                f"has format {self.header.version}, this program reads {VERSION}",
                where=str(path),
                mend=f"use a vpptwin that knows recording format {self.header.version}",
            )

    @property
    def end(self) -> End:
        """Where the log ends; reads it through if that was not done yet."""
        if self._end is None:
            for _ in self:
                pass
        assert self._end is not None, "a full pass sets it"
        return self._end

    def __iter__(self) -> Iterator[Frame]:
        """Readings and commands up to the end or the cut."""
        frames, seen, offset, last, closed = 0, 0, len(MAGIC), None, False
        for frame, offset in self._whole():  # noqa: B007 - the last offset is wanted
            seen += 1
            closed = isinstance(frame, EndFrame) and frame.frames == frames
            if isinstance(frame, ReadingFrame | CommandFrame):
                frames, last = frames + 1, frame.ts_us
                yield frame
        self.frames_seen = seen
        self._end = self._judge(frames, offset, last, closed)

    def digest(self) -> str:
        """SHA-256 of the content without receive times: equal for two runs of one seed."""
        total = hashlib.sha256()
        for frame in self:
            total.update(msgspec.msgpack.encode(msgspec.structs.replace(frame, t_recv_us=0), order="deterministic"))
        return total.hexdigest()

    def _judge(self, frames: int, offset: int, last: int | None, closed: bool) -> End:
        left = self.path.stat().st_size - offset
        if left:
            why = f"cut or damaged after {frames} frames: {left} bytes at offset {offset} are no whole frame"
        elif not closed:
            why = f"ends after {frames} frames without its end mark: the writer was killed"
        else:
            why = f"complete, {frames} frames"
        return End(complete=closed and not left, frames=frames, offset=offset, last_ts_us=last, why=why)

    def _whole(self) -> Iterator[tuple[Header | ReadingFrame | CommandFrame | EndFrame, int]]:
        """Whole frames in sequence, each with the offset after it; ends at the first that is not."""
        try:
            with self.path.open("rb") as file:
                if file.read(len(MAGIC)) != MAGIC:
                    raise RecordingError("is not a recording", where=str(self.path), mend="name RUN/recording/log.bin")
                offset, expected = len(MAGIC), 0
                while (payload := _payload(file, expected)) is not None:
                    offset, expected = offset + _HEAD.size + len(payload), expected + 1
                    yield _DECODER.decode(payload), offset
        except OSError as error:
            raise RecordingError(
                f"cannot be read: {error.strerror}", where=str(self.path), mend="name RUN/recording/log.bin"
            ) from error
        except msgspec.DecodeError:
            return  # a frame with a right CRC that is none of ours: nothing after it can be trusted


def _payload(file: io.BufferedReader, expected: int) -> bytes | None:
    """The next payload, or None if the frame is cut, damaged or out of sequence."""
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    length, crc, seq = _HEAD.unpack(head)
    if seq != expected or length > _MAX_BYTES:
        return None
    payload = file.read(length)
    if len(payload) < length or zlib.crc32(payload, zlib.crc32(head[8:])) != crc:
        return None
    return payload
