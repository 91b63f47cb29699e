"""One witness: decides whether to cosign a head (C2SP tlog-witness, add-checkpoint). No network here.

| status | why |
|---|---|
| 200 | cosigned: the body is the cosignature line |
| 400 | malformed, or the old size is larger than the head's: a rollback |
| 403 | no signature of a key trusted for this log |
| 404 | an unknown log |
| 409 | the old size is not the one cosigned last (the body says which), or one size has two roots |
| 422 | the proof does not show that the head extends the one cosigned last: a fork; or (validating) a rule is broken |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import NamedTuple, Protocol

from ledger import tlog
from ledger.errors import LedgerError, NoteError, ProofError
from ledger.note import Checkpoint, Note, Signer, Verifier
from ledger.witness.heads import Heads
from ledger.witness.request import Request, parsed

TEXT = "text/plain; charset=utf-8"
SIZE = "text/x.tlog.size"


class Answer(NamedTuple):
    """HTTP status, body, and its type."""

    status: int
    body: str
    type: str = TEXT


class Rules(Protocol):
    """What a validating witness asks before it cosigns."""

    def check(self, head: Checkpoint) -> None:
        """Raises LedgerError if an entry up to this head breaks a rule, or if the entries give another root."""
        ...


class Witness:
    """Never cosigns two heads of one log that no single tree explains, also after a crash: it remembers first."""

    def __init__(
        self,
        signer: Signer,
        logs: Sequence[Verifier],
        heads: Heads,
        now_s: Callable[[], int],
        rules: Mapping[str, Rules] | None = None,
    ) -> None:
        """logs : keys trusted, by name the origin they sign; rules : by origin, for those that are validated."""
        self.signer, self._heads, self._now_s = signer, heads, now_s
        self._logs = logs
        self._rules = rules or {}
        self._busy = Lock()

    def add_checkpoint(self, body: bytes) -> Answer:
        """Cosign the head in a request, or say why not. Check and memory are one step: no two heads race."""
        try:
            request = parsed(body)
        except (ProofError, NoteError) as error:
            return Answer(400, f"{error.what}\n")
        head = request.head
        trusted = [verifier for verifier in self._logs if verifier.name == head.origin]
        if not trusted:
            return Answer(404, f"unknown log {head.origin}\n")
        try:
            if not request.note.verify(trusted):
                return Answer(403, "no signature of a key trusted for this log\n")
        except NoteError as error:
            return Answer(403, f"{error.what}\n")
        if request.old > head.size:
            return Answer(400, f"old size {request.old} is larger than the head's {head.size}\n")
        with self._busy:
            return self._judge(request)

    def _judge(self, request: Request) -> Answer:
        head = request.head
        size, held = self._heads.get(head.origin) or (0, "")
        if request.old != size:
            return Answer(409, f"{size}\n", SIZE)
        root = Checkpoint.parse(Note.parse(held).text).root if held else tlog.EMPTY
        if head.size == size and head.root != root:
            self._heads.convict(head.origin, held, request.signed)
            return Answer(409, f"{size}\n", SIZE)
        if not _extends(request, root):
            if held:
                self._heads.convict(head.origin, held, request.signed)
            return Answer(422, f"the proof does not show that {head.size} entries extend the {size} cosigned\n")
        if head.origin in self._rules:
            try:
                self._rules[head.origin].check(head)
            except LedgerError as error:
                return Answer(422, f"{error}\n")
        self._heads.put(head.origin, head.size, request.signed)
        return Answer(200, self.signer.cosignature(head.text, self._now_s()))


def _extends(request: Request, root: bytes) -> bool:
    """Does the proof lead from the head cosigned last to this one? From nothing, and to the same, without a proof."""
    head = request.head
    if request.old == 0 or request.old == head.size:
        return not request.proof
    return tlog.verify_consistency(request.old, head.size, root, head.root, request.proof)
