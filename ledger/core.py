"""The ledger: append entries, sign heads, prove. One writer; what `append` has returned is durable."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from threading import Lock
from types import MappingProxyType, TracebackType
from typing import Any, TypeVar

from ledger import canon, drafts, note, places, rules, start, tlog
from ledger.chain import Chain, Draft, Head, Row, Signing
from ledger.errors import CanonError, ClockBehind, EntryRefused, LedgerBroken, LedgerError, NoteError, ProofError
from ledger.keys import KeyRing
from ledger.rate import onchain_rate
from ledger.sealing import CLOCK_LIMIT_US, Known, Receipt, sealed, sealed_each

Result = TypeVar("Result")


class Ledger:
    """One log, open. Use as a context manager; `close` signs the head and releases the writer's lock."""

    def __init__(
        self,
        folder: Path,
        name: str,
        started: start.Started,
        *,
        keys: KeyRing | None,
        now_us: Callable[[], int] | None,
    ) -> None:
        """For `create` and `open` only."""
        self.folder, self.name = folder, name
        self._store, self._chain, self._lock_handle = started.store, started.chain, started.lock
        self._keys, self._now_us = keys, now_us
        self._failures: tuple[type[Exception], ...] = (*started.store.failures, OSError, UnicodeEncodeError)
        self._broken = ""
        self._busy = Lock()

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        log: str,
        keys: KeyRing,
        now_us: Callable[[], int],
        genesis: Mapping[str, Any],
        name: str = places.MAIN,
    ) -> Ledger:
        """Begin a log named `log` (e.g. `homes/main`) in `folder`.

        genesis : currency, operator, grid; optional slot_s, residual_by (operator|pro_rata), residual_alarm_ppm,
            price_grace_us, facts (anything canonical: digests of site and data)
        Raises LedgerError if a log is here already, EntryRefused if the genesis is not allowed.
        """
        started = start.begun(folder, log, keys, name)
        ledger = cls(folder, name, started, keys=keys, now_us=now_us)
        vkey = keys.signer(log).verifier.vkey
        body = {**drafts.GENESIS_DEFAULTS, **genesis, "format": 1, "keys": keys.kind, "log_key": vkey}
        try:
            ledger.append("genesis", body, id="genesis", by=log)
        except LedgerError:
            ledger._release()
            raise
        if name == places.MAIN:
            places.write_whole(folder / "ledger.toml", f'product = "{start.PRODUCT}"\nlog = "{log}"\nkey = "{vkey}"\n')
        return ledger

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        keys: KeyRing | None = None,
        now_us: Callable[[], int] | None = None,
        readonly: bool = False,
        name: str = places.MAIN,
        heads: Sequence[note.Checkpoint] = (),
    ) -> Ledger:
        """Open a log: every entry is re-executed, and the head compared with the last signed ones.

        keys : those of the folder if not given; now_us : needed to append; heads : others that the log must have
        Raises LedgerTruncated or LedgerForked if the log lacks what it has signed, LedgerBroken if an entry does not
        hold, LedgerLocked if another process writes, LedgerUnreadable if there is no log.
        """
        folder = places.ledger_folder(folder)
        started = start.resumed(folder, keys, name, heads, readonly=readonly)
        ledger = cls(folder, name, started, keys=started.keys, now_us=now_us)
        chain = started.chain
        if not readonly and chain.state[("rules",)] != rules.ID and now_us is not None:
            change = {"before": chain.state[("rules",)], "after": rules.ID}
            ledger.append("tool.rules", change, id=f"rul:{chain.size}", by=chain.log)
        return ledger

    @property
    def log(self) -> str:
        """The log's name (origin of its checkpoints)."""
        return self._chain.log

    @property
    def state(self) -> rules.State:
        """The rules' facts at the head, read only."""
        return MappingProxyType(self._chain.state)

    def append(self, type: str, body: Mapping[str, Any], *, id: str, by: str) -> Receipt:
        """Append one entry durably; see append_many."""
        return self.append_many([Draft(type, body, id, by)])[0]

    def append_many(self, drafts: Sequence[Draft | tuple[str, Mapping[str, Any], str, str]]) -> list[Receipt]:
        """Append all entries in one durable transaction, or none.

        An entry whose id exists with the same type, body and by gives its old receipt (`exists`).
        Raises IdConflict (id exists with another content), EntryRefused (a rule), CanonError (no canonical form);
        LedgerBroken if the store fails: then close, reopen and verify, never retry.
        """
        return self._append([Draft(*draft) for draft in drafts], sealed)

    def append_each(self, drafts: Sequence[Draft]) -> list[Receipt | EntryRefused | CanonError]:
        """Append those that are allowed in one durable transaction; the others' places hold the refusal."""
        return self._append(drafts, sealed_each)

    def head(self) -> Head:
        """Size and root now."""
        return self._chain.head()

    def checkpoint(self) -> str:
        """Sign the head, keep it in the database and as a pin outside; returns the note, with what it has gained.

        Raises ClockBehind while the clock is behind the entries.
        """
        with self._busy:
            if self._behind(self._ready()):
                raise ClockBehind(
                    "the clock is behind the last entry", where=self.log, mend="set it right, then append"
                )
            last = self._store.last_checkpoint()
            if last is not None and last[0] == self._chain.size:
                self._keep(*last)
                return last[1]
            head = note.Checkpoint(self.log, self._chain.size, self._chain.tree.root())
            signed = note.sign(head.text, self._log_signer())
            self._keep(head.size, signed)
            return signed

    def keep(self, signed: str) -> None:
        """Keep a head of this log that has gained cosignatures. Raises NoteError if it is none of this key and log."""
        head = note.Checkpoint.parse(note.Note.parse(signed).text)
        with self._busy:
            self._ready()
            own = note.Note.parse(signed).verify([self._log_signer().verifier])
            if not own or not 0 < head.size <= self._chain.size:
                raise NoteError(f"not a signed head of {self.log}", where="keep", mend="keep what checkpoint returned")
            if tlog.range_hash(self._store.node, 0, head.size) != head.root:
                raise NoteError(f"not the root at {head.size}", where="keep", mend="keep what checkpoint returned")
            self._keep(head.size, signed)

    def inclusion(self, seq: int, size: int | None = None) -> list[bytes]:
        """Audit path of entry `seq` in the tree of `size` entries (now, if not given). Raises ProofError."""
        return tlog.inclusion(self._store.node, seq, self._within(size))

    def consistency(self, first: int, second: int | None = None) -> list[bytes]:
        """Proof that the head at `second` (now) extends the one at `first`. Raises ProofError."""
        return tlog.consistency(self._store.node, first, self._within(second))

    def data(self, seq: int) -> bytes:
        """Canonical bytes of one entry. Raises LedgerError if there is none."""
        data = self._store.data(seq)
        if data is None:
            raise LedgerError(f"no entry {seq}", where=self.log, mend=f"there are {self._chain.size}")
        return data

    def entry(self, seq: int) -> dict[str, Any]:
        """One entry. Raises LedgerError if there is none."""
        return canon.loads(self.data(seq))

    def find(self, id: str) -> Receipt | None:
        """Where the entry of this id stands; None if there is none."""
        found = self._store.find([id]).get(id)
        return None if found is None else Receipt(found[0], found[1].hex(), "exists")

    def entries(self, start: int = 0) -> list[dict[str, Any]]:
        """Entries from `start` on."""
        return [canon.loads(row[5]) for row in self._store.rows(start)]

    def replay(self) -> Head:
        """Re-execute all entries from nothing; returns the head found. Raises LedgerBroken where one does not hold."""
        return start.replayed(self._store, self.folder, self.name).head()

    def onchain_rate(self, since_us: int, until_us: int) -> Fraction:
        """Automatically settled requests / all transaction requests, over slots starting in [since, until)."""
        return onchain_rate([self._chain.state], since_us, until_us)

    def wallets(self) -> dict[str, tuple[int, int]]:
        """account -> (balance in micro-currency, Wh given), from the rules' state."""
        return {key[1]: value for key, value in sorted(self._chain.state.items(), key=repr) if key[0] == "wallet"}

    def close(self) -> None:
        """Sign the head if it is not signed yet (and may be), and let go of the log."""
        try:
            if self._lock_handle is not None and not self._broken and self._now_us is not None:
                last = self._store.last_checkpoint()
                if (last is None or last[0] < self._chain.size) and not self._behind(self._now_us()):
                    self.checkpoint()
        finally:
            self._release()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(
        self,
        items: Sequence[Draft],
        seal: Callable[[Chain, Sequence[Draft], Known, int, Signing], tuple[list[Row], list[Result]]],
    ) -> list[Result]:
        with self._busy:
            now = self._ready()
            try:
                known = self._store.find([item.id for item in items])
            except self._failures as error:
                raise LedgerError(f"ids: {error}", where="append", mend="ids are ASCII words") from error
            self._chain.begin()
            try:
                rows, results = seal(self._chain, items, known, now, self._sign)
            except BaseException:
                self._chain.rollback()
                raise
            self._commit(rows)
            return results

    def _commit(self, rows: Sequence[Row]) -> None:
        if not rows:
            self._chain.rollback()
            return
        try:
            self._store.write(rows, self._chain.touched())
        except self._failures as error:
            self._chain.rollback()
            raise self._break(error) from error
        self._chain.commit()

    def _keep(self, size: int, signed: str) -> None:
        """In the database, then as the pin, which never goes back to a smaller head."""
        try:
            self._store.put_checkpoint(size, signed)
            last = self._store.last_checkpoint()
            if last is not None and last[0] == size:
                places.write_pin(places.pin(self.folder, self.name), signed)
        except self._failures as error:
            raise self._break(error) from error

    def _behind(self, now: int) -> bool:
        return bool(self._chain.ts - now > CLOCK_LIMIT_US or self._chain.state.get(("clock",), 0))

    def _ready(self) -> int:
        if self._broken:
            raise LedgerBroken(self._broken, where=self.log, mend="close, reopen and verify")
        if self._lock_handle is None or self._now_us is None:
            raise LedgerError("open for reading only", where=self.log, mend="open with now_us and without readonly")
        return self._now_us()

    def _break(self, error: Exception) -> LedgerBroken:
        self._broken = f"the store failed: {error}"
        return LedgerBroken(self._broken, where=self.log, mend="close, reopen and verify; nothing is retried")

    def _sign(self, actor: str, message: bytes) -> Mapping[str, str] | None:
        if self._keys is None:
            return None
        signer = self._keys.signer(actor, self._chain.state.get(("generation", actor), 0))
        return signer.sign_field(message)

    def _log_signer(self) -> note.Signer:
        if self._keys is None:
            raise LedgerError("no keys", where=self.log, mend="open with the ledger's keys")
        return self._keys.signer(self.log, self._chain.state.get(("generation", self.log), 0))

    def _within(self, size: int | None) -> int:
        if size is not None and size > self._chain.size:
            raise ProofError(f"size {size}, the log has {self._chain.size}", where=self.log)
        return self._chain.size if size is None else size

    def _release(self) -> None:
        self._store.close()
        if self._lock_handle is not None:
            os.close(self._lock_handle)
            self._lock_handle = None
