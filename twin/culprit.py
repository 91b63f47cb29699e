"""Which reading disagrees with the ledger: the stored readings of a batch beside those that were received.

A batch's root says that some reading is wrong, not which. The recording holds what was received; if with it the root is
right again, it is what was settled, and each reading that the store holds otherwise is the one that was changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devices.readings import Reading
from ledger import batch, places
from ledger.errors import LedgerError
from ledger.keys import KeyRing
from ledger.verify import Finding
from twin.clock import iso
from twin.metering import leaf
from twin.recording import ReadingFrame, Recording, RecordingError
from twin.store.reader import StoredReading

RECORDING = Path("recording", "log.bin")


@dataclass(slots=True)
class Received:
    """What the recording holds of some devices, and the key of the nonces if the ledger's keys are here."""

    readings: dict[str, dict[int, Reading]] = field(default_factory=dict)
    nonce_key: bytes = b""

    def of(self, device: str, start_us: int, end_us: int) -> dict[int, tuple[Reading, bytes]]:
        """Time stamp -> (reading, nonce or b"" where it cannot be said) of [start, end)."""
        return {
            ts_us: (one, batch.nonce(self.nonce_key, device, ts_us, one.seq) if self.nonce_key else b"")
            for ts_us, one in sorted(self.readings.get(device, {}).items())
            if start_us <= ts_us < end_us
        }


def received(folder: Path, devices: Collection[str]) -> Received:
    """Read a run folder's recording; nothing if there is none that can be read."""
    found = Received()
    with suppress(LedgerError):  # kept elsewhere: then the stored nonces must do
        found.nonce_key = KeyRing.load(places.keys(places.ledger_folder(folder))).nonce_key()
    try:
        for frame in Recording(folder / RECORDING):
            if isinstance(frame, ReadingFrame) and frame.device in devices:
                known = found.readings.setdefault(frame.device, {})
                if frame.ts_us not in known or frame.seq >= known[frame.ts_us].seq:
                    known[frame.ts_us] = frame.reading
    except (RecordingError, OSError):
        return found
    return found


def at(t_us: int) -> str:
    """A time stamp for people, also one that a fault has put beyond all calendars."""
    try:
        return iso(t_us)
    except (ValueError, OverflowError, OSError):
        return f"{t_us} µs"


def differences(
    device: str,
    start_us: int,
    stored: Mapping[int, StoredReading],
    settled: Mapping[int, tuple[Reading, bytes]],
    said: Mapping[str, Any] | None,
) -> Iterator[Finding]:
    """The readings of a batch that disagree, or the batch itself where what was received does not explain its root.

    said : the latest metering entry's body, None if the ledger has none of this slot
    """
    where = f"{device} slot {at(start_us)}"
    leaves = [
        leaf(one, nonce or (stored[ts_us].nonce if ts_us in stored else bytes(batch.NONCE_SIZE)))
        for ts_us, (one, nonce) in settled.items()
    ]
    proved = said is not None and (said["count"], said["root"]) == (len(leaves), batch.batch_root(leaves))
    if not proved:
        count = "no batch" if said is None else f"a batch of {said['count']}"
        what = f"{len(stored)} readings are stored, the ledger has {count} with another root; the recording"
        yield Finding("readings", where, f"{what} does not say which of them disagrees")
        return
    for ts_us in sorted(stored.keys() | settled.keys()):
        if what := _difference(stored.get(ts_us), settled.get(ts_us)):
            yield Finding("readings", f"{device} reading {at(ts_us)}", what)


def _difference(stored: StoredReading | None, settled: tuple[Reading, bytes] | None) -> str:
    """In words, how a stored reading differs from the settled one; empty if it does not."""
    if stored is None:
        return "is not stored, but was settled"
    if settled is None:
        return "is stored, but was never received nor settled"
    have, (want, nonce) = stored.reading, settled
    parts = [
        f"{name} is {have.values.get(name)}, settled was {want.values.get(name)}"
        for name in sorted(have.values.keys() | want.values.keys())
        if have.values.get(name) != want.values.get(name)
    ]
    if have.quality is not want.quality:
        parts.append(f"quality is {have.quality.name}, settled was {want.quality.name}")
    if nonce and stored.nonce != nonce:
        parts.append("its nonce is not the one it was settled with")
    return "; ".join(parts)
