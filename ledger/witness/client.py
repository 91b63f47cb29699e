"""The log's side: one round asks all witnesses of a policy at once for their cosignatures of a head."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from types import TracebackType
from urllib.parse import urlsplit

from ledger.errors import NoteError, WitnessError
from ledger.note import Checkpoint, Note, Verifier
from ledger.policy import Place, Policy
from ledger.witness.node import SIZE, Answer
from ledger.witness.request import written

TIMEOUT_S = 5.0
MAX_ANSWER = 64 * 1024
TRIES = 3

Consistency = Callable[[int, int], Iterable[bytes]]
"""(first, second) -> proof that the head at `second` extends the one at `first`."""


@dataclass(frozen=True, slots=True)
class Round:
    """What a round brought: the head with the cosignatures, who gave them, and what the others said."""

    signed: str
    cosigned: tuple[str, ...]
    refused: dict[str, str]


class Cosigners:
    """Connections to the witnesses of a policy, kept open from round to round."""

    def __init__(self, policy: Policy, timeout_s: float = TIMEOUT_S) -> None:
        """Witnesses without a URL are left out. Raises WitnessError if no quorum can be had from those with one."""
        self.policy = policy
        self._asked = {n: _Asked(place, timeout_s) for n, place in policy.witnesses.items() if place.url}
        if not policy.satisfied(self._asked):
            raise WitnessError("too few witnesses have a URL", where="policy", mend="add URLs to the witness lines")
        self._pool = ThreadPoolExecutor(max(1, len(self._asked)), thread_name_prefix="cosign")

    def round(self, signed: str, consistency: Consistency) -> Round:
        """Ask all that have not yet cosigned a signed head to do so. Raises WitnessError without a quorum."""
        head = Checkpoint.parse(Note.parse(signed).text)
        before = self.policy.cosigned(signed)
        names = [name for name in self._asked if name not in before]
        prove = _Proofs(consistency, head.size)
        found = self._pool.map(lambda name: self._asked[name].ask(head, signed, prove), names)
        lines: dict[str, str] = {}
        refused: dict[str, str] = {}
        for name, (line, why) in zip(names, found, strict=True):
            if line:
                lines[name] = line
            else:
                refused[name] = why
        cosigned = sorted({*before, *lines})
        if not self.policy.satisfied(cosigned):
            said = "; ".join(f"{name}: {why}" for name, why in refused.items())
            what = f"{len(cosigned)} of {len(self._asked)} cosigned {head.size} entries: {said}"
            raise WitnessError(what, where=head.origin)
        return Round(signed + "".join(lines.values()), tuple(cosigned), refused)

    def __enter__(self) -> Cosigners:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._pool.shutdown()
        for asked in self._asked.values():
            asked.close()


def submit(place: Place, old: int, proof: Sequence[bytes], signed: str, timeout_s: float = TIMEOUT_S) -> Answer:
    """One add-checkpoint to one witness, exactly as given. Raises WitnessError if there is no answer."""
    asked = _Asked(place, timeout_s)
    try:
        return asked.post(written(old, proof, signed))
    except (OSError, http.client.HTTPException) as error:
        raise WitnessError(f"no answer: {error}", where=place.url, mend="start the witness") from error
    finally:
        asked.close()


class _Proofs:
    """Proofs of one round: most witnesses ask for the same, and the log is read by one thread at a time."""

    def __init__(self, consistency: Consistency, size: int) -> None:
        self._consistency, self._size = consistency, size
        self._made: dict[int, list[bytes]] = {}
        self._busy = Lock()

    def since(self, old: int) -> list[bytes]:
        """From `old` to the head; nothing is proved from 0 or to the same."""
        if not 0 < old < self._size:
            return []
        with self._busy:
            if old not in self._made:
                self._made[old] = list(self._consistency(old, self._size))
            return self._made[old]


class _Asked:
    """One witness, asked by one thread at a time; remembers the size it cosigned last."""

    def __init__(self, place: Place, timeout_s: float) -> None:
        self._verifier = place.verifier
        parts = urlsplit(place.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise WitnessError(f"not an address: {place.url!r}", where=place.verifier.name, mend="http(s)://host:port")
        make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = make(parts.hostname, parts.port, timeout=timeout_s)
        self._path = f"{parts.path.rstrip('/')}/add-checkpoint"
        self._known = 0

    def ask(self, head: Checkpoint, signed: str, prove: _Proofs) -> tuple[str, str]:
        """(cosignature line, "") or ("", what the witness said). A stale size is mended once it is known."""
        for _ in range(TRIES):
            old = min(self._known, head.size)
            try:
                answer = self.post(written(old, prove.since(old), signed))
            except (OSError, http.client.HTTPException) as error:
                self.close()
                return "", f"no answer: {type(error).__name__} {error}"
            size = answer.body.strip()
            stale = answer.status == 409 and answer.type == SIZE and size.isdecimal() and int(size) != old
            if not stale:
                return self._cosignature(head, answer)
            if int(size) > head.size:
                return "", f"409: has cosigned {size} entries, this head has {head.size}"
            self._known = int(size)
        return "", "409: its size keeps changing"

    def _cosignature(self, head: Checkpoint, answer: Answer) -> tuple[str, str]:
        if answer.status != 200:
            return "", f"{answer.status}: {answer.body.strip()[:200]}"
        line = _own_line(self._verifier, head.text, answer.body)
        if line:
            self._known = head.size
        return line, "" if line else "200 without its cosignature"

    def post(self, body: bytes) -> Answer:
        """One exchange. Raises OSError or HTTPException without an answer."""
        fresh = self._connection.sock is None
        try:
            return self._exchange(body)
        except (ConnectionError, http.client.RemoteDisconnected):
            if fresh:
                raise
            self.close()  # a kept connection may have been closed meanwhile; a new one is tried once
            return self._exchange(body)

    def _exchange(self, body: bytes) -> Answer:
        self._connection.request("POST", self._path, body, {"Content-Type": "text/plain; charset=utf-8"})
        response = self._connection.getresponse()
        text = response.read(MAX_ANSWER).decode("utf-8", "replace")
        return Answer(response.status, text, response.headers.get("Content-Type", ""))

    def close(self) -> None:
        self._connection.close()


def _own_line(verifier: Verifier, text: str, body: str) -> str:
    """The line of an answer that is this witness' cosignature of the text; lines of other keys are ignored."""
    for line in body.splitlines(keepends=True):
        try:
            if Note.parse(f"{text}\n{line}").verify([verifier]):
                return line
        except NoteError:
            continue
    return ""
