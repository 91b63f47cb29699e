"""A site's books: the main log and one log per party, priced, settled and anchored together.

What a household metered, its prices and postings stand in its own log; the main log holds commitments to them, their
totals, the operator and the grid. Every period each log's signed head becomes an `anchor` entry of the other.
The parties' logs are written at the same time, so that their waits for the disk are one wait instead of many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from ledger import anchor, drafts, note, places, rate
from ledger.anchor import Anchors
from ledger.apart import Settled, Share, Side, commitment, settle_share, shares, sides
from ledger.chain import Draft, Head
from ledger.core import Ledger
from ledger.errors import LedgerError
from ledger.keys import KeyRing
from ledger.moment import Moment
from ledger.rules import MOVES
from ledger.rules.disputes import reputations
from ledger.rules.state import RESIDUAL
from ledger.settle import foreseen, settle_slot

T = TypeVar("T")


class Books:
    """All logs of a site, open. Use as a context manager; `close` signs every head."""

    def __init__(self, main: Ledger, apart: Mapping[str, Ledger], stack: ExitStack, moment: Moment | None) -> None:
        """For `create` and `open` only."""
        self.main, self._moment = main, moment
        self.apart = dict(sorted(apart.items()))
        """Party -> its own log."""
        self._stack, self._anchors = stack, Anchors(main, self.apart)
        self._threads = ThreadPoolExecutor(max(len(self.apart), 1), thread_name_prefix="books")
        stack.callback(self._threads.shutdown)

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        site: str,
        keys: KeyRing,
        now_us: Callable[[], int],
        genesis: Mapping[str, Any],
        apart: Iterable[str],
    ) -> Books:
        """Begin `site`/main and a log `site`/party/<id> for each party of `apart`. Arguments as Ledger.create."""
        moment = Moment(now_us)
        now_us = moment.now_us
        with ExitStack() as stack:
            main = stack.enter_context(
                Ledger.create(folder, log=f"{site}/main", keys=keys, now_us=now_us, genesis=genesis)
            )
            own = {**genesis, "main": keys.signer(main.log).verifier.vkey}
            logs = {}
            for party in sorted(apart):
                body, name = {**own, "party": party}, places.party(party)
                logs[party] = stack.enter_context(
                    Ledger.create(folder, log=f"{site}/{name}", keys=keys, now_us=now_us, genesis=body, name=name)
                )
            return cls(main, logs, stack.pop_all(), moment)

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        keys: KeyRing | None = None,
        now_us: Callable[[], int] | None = None,
        readonly: bool = False,
    ) -> Books:
        """Open every log of a run or ledger folder. Raises as Ledger.open, also for heads the main log anchored."""
        folder = places.ledger_folder(folder)
        moment = None if now_us is None else Moment(now_us)
        now_us = None if moment is None else moment.now_us
        with ExitStack() as stack:

            def opened(name: str, heads: Sequence[note.Checkpoint] = ()) -> Ledger:
                one = Ledger.open(folder, keys=keys, now_us=now_us, readonly=readonly, name=name, heads=heads)
                return stack.enter_context(one)

            main = opened(places.MAIN)
            site = main.log.removesuffix(places.MAIN)
            names = [name for name in places.logs(folder) if name != places.MAIN]
            logs = {name.partition("/")[2]: opened(name, anchor.held(main, site + name)) for name in names}
            return cls(main, logs, stack.pop_all(), moment)

    def log_of(self, party: str) -> Ledger:
        """The log that holds a party's postings: its own, or the main log."""
        return self.apart.get(party, self.main)

    def register(self, party: str, role: str, *, meter: str, devices: Sequence[str], keys: KeyRing) -> None:
        """Bind a wallet to its meter, devices and key: in the main log, and in the party's own."""
        own = self.apart.get(party)
        facts: dict[str, Any] = {"meter": meter, "devices": devices, "keys": keys}
        self.main.append_many([drafts.registration(party, role, log=own.log if own else "", **facts)])
        if own is not None:
            own.append_many([drafts.registration(party, role, **facts)])

    def price(
        self,
        operator: str,
        *,
        slot_us: int,
        buy: Mapping[str, int],
        sell: Mapping[str, int],
        beside: Sequence[Draft] = (),
        **facts: Any,
    ) -> bool:
        """Fix a slot's prices before it starts: each party's in its own log, the grid's (and a commitment) in main.

        beside : what else the main log takes in the same transaction; facts : as drafts.price
        Returns False, having written nothing, if the slot has begun: then nothing of it can be settled.
        Raises LedgerError if the books are open for reading only.
        """
        if self._moment is None:
            raise LedgerError(
                "open for reading only", where=self.main.log, mend="open with now_us and without readonly"
            )
        with self._moment.held() as now_us:
            if now_us > slot_us + self.main.state[("genesis",)]["price_grace_us"]:
                return False
            self._price(operator, slot_us, buy, sell, beside, facts)
            return True

    def _price(
        self,
        operator: str,
        slot_us: int,
        buy: Mapping[str, int],
        sell: Mapping[str, int],
        beside: Sequence[Draft],
        facts: Mapping[str, Any],
    ) -> None:
        named = {name: facts[name] for name in ("slot_s", "plan", "inputs", "certificate")}

        def own_price(party: str, log: Ledger) -> bytes:
            own = [{party: side[party]} if party in side else {} for side in (buy, sell)]
            draft = drafts.price(operator, slot_us=slot_us, buy=own[0], sell=own[1], **named)
            return bytes.fromhex(log.append_many([draft])[0].leaf)

        leaves = self._each(own_price, [party for party in self.apart if party in buy or party in sell])
        rest = [{party: micro for party, micro in side.items() if party not in self.apart} for side in (buy, sell)]
        commit = commitment(leaves) if leaves else ""
        main = drafts.price(operator, slot_us=slot_us, buy=rest[0], sell=rest[1], commit=commit, **facts)
        self.main.append_many([main, *beside])

    def settle(self, slots: Sequence[int], meterings: Sequence[Draft] = (), *, anchored: bool = False) -> list[Draft]:
        """Append meterings and settle these slots, in one transaction a log; returns all settlement entries.

        anchored : the same transactions anchor both ways, the main log's last signed head in every party's log and
            every party's head in the main log, whose head is then signed (unless the clock is behind)
        A slot settled before is settled anew where its metering changed. Shares of the residual follow in a second
        transaction. Raises as settle_slot.
        """
        down = {party: self._anchors.down(party) if anchored else [] for party in self.apart}
        traded = {slot_us: self._sides(slot_us) for slot_us in slots}
        wallets: dict[str, list[Draft]] = {}
        for draft in meterings:
            wallets.setdefault(draft.by if draft.by in self.apart else "", []).append(draft)

        def settle_own(party: str, log: Ledger) -> list[Draft]:
            mine = wallets.get(party, [])
            state = foreseen(log.state, mine)
            settled = [
                draft for slot_us in slots for draft in settle_slot(state, slot_us, sides=traded[slot_us][party])
            ]
            log.append_many([*down[party], *mine, *settled])
            return settled

        made = [draft for settled in self._each(settle_own, self.apart) for draft in settled]
        mine = wallets.get("", [])
        state = foreseen(self.main.state, mine)
        settled = [draft for slot_us in slots for draft in settle_slot(state, slot_us, self._standing(slot_us))]
        self.main.append_many([*mine, *settled, *(self._anchors.up() if anchored else [])])
        if anchored:
            self._anchors.sign(strict=False)
        return made + settled + self._share(slots)

    def _sides(self, slot_us: int) -> dict[str, list[Side]]:
        """The contracts of a slot as each party with a log of its own has to settle them."""

        def leaf_of(identity: str) -> str:
            receipt = self.main.find(identity)
            assert receipt is not None, "its state holds it"
            return receipt.leaf

        return {party: sides(self.main.state, slot_us, party, leaf_of) for party in self.apart}

    def _share(self, slots: Sequence[int]) -> list[Draft]:
        """Lay on the parties with logs of their own what the main log's residual entries lay on them together."""
        main = self.main.state
        if main[("genesis",)]["residual_by"] != "pro_rata":
            return []
        parts: dict[int, dict[str, Share]] = {}
        for slot_us in slots:
            identity, _, standing = main.get((RESIDUAL, RESIDUAL, slot_us), ("", -1, False))
            if standing:
                parts[slot_us] = shares(identity, main["posted", identity][4], self._standing(slot_us))

        def bear(party: str, log: Ledger) -> list[Draft]:
            made = [
                draft
                for slot_us, part in parts.items()
                for draft in settle_share(log.state, slot_us, part.get(party, Share("")))
            ]
            log.append_many(made)
            return made

        return [draft for made in self._each(bear, self.apart) for draft in made]

    def anchor(self) -> None:
        """Sign all heads and anchor them both ways: the parties' in the main log, the main log's in theirs.

        Raises ClockBehind while the clock is behind the entries.
        """
        self._each(lambda _, log: log.checkpoint(), self.apart)
        self.main.append_many(self._anchors.up())
        self._anchors.sign(strict=True)
        down = {party: self._anchors.down(party) for party in self.apart}
        self._each(lambda party, log: log.append_many(down[party]), self.apart)

    def head(self) -> Head:
        """Entries of all logs, and the root of the main log."""
        return Head(sum(log.head().size for log in (self.main, *self.apart.values())), self.main.head().root)

    def wallets(self) -> dict[str, tuple[int, int]]:
        """account -> (micro-currency, Wh given) over all logs; `clearing` is 0 once a slot is settled."""
        return merged(log.wallets() for log in (self.main, *self.apart.values()))

    def onchain_rate(self, since_us: int, until_us: int) -> Fraction:
        """Automatically settled requests / all transaction requests over all logs (rate.onchain_rate)."""
        states = [log.state for log in (self.main, *self.apart.values())]
        return rate.onchain_rate(states, since_us, until_us)

    def reputations(self) -> dict[str, float]:
        """Party -> reputation in [0, 1], of those that were evaluated, each in the log where it is metered."""
        logs = (self.main, *self.apart.values())
        return {party: found for log in logs for party, found in reputations(log.state).items()}

    def close(self) -> None:
        """Sign every head that is not signed yet and let go of all logs."""
        self._stack.close()

    def __enter__(self) -> Books:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _each(self, act: Callable[[str, Ledger], T], parties: Iterable[str]) -> list[T]:
        """act(party, its log) at the same time; results in the order of the parties. Raises when all have ended."""
        begun = [self._threads.submit(act, party, self.apart[party]) for party in parties]
        wait(begun)
        return [one.result() for one in begun]

    def _standing(self, slot_us: int) -> dict[str, Settled]:
        """What stands in the parties' own logs for a slot."""
        found = {}
        for party, log in self.apart.items():
            identity, _, standing = log.state.get(("settled", party, slot_us), ("", -1, False))
            receipt = log.find(identity) if standing else None
            if receipt is not None:
                (_, micro, rest), *_ = log.state["posted", identity][4]
                wh = log.state["posted", identity][3][2]
                found[party] = Settled(bytes.fromhex(receipt.leaf), wh, micro, wh - rest)
        return found


def merged(wallets: Iterable[Mapping[str, tuple[int, int]]]) -> dict[str, tuple[int, int]]:
    """Balances of several logs added up by account."""
    total: dict[str, tuple[int, int]] = {}
    for one in wallets:
        for account, (micro, wh) in one.items():
            have = total.get(account, (0, 0))
            total[account] = (have[0] + micro, have[1] + wh)
    return dict(sorted(total.items()))


def payments(settled: Iterable[Draft]) -> dict[str, int]:
    """Micro-currency per account over the postings of settlement entries, in order of the accounts."""
    total: dict[str, int] = {}
    for draft in settled:
        if draft.type in MOVES:
            for account, micro, _wh in draft.body["postings"]:
                total[account] = total.get(account, 0) + micro
    return dict(sorted(total.items()))
