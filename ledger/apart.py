"""What parties with logs of their own and the main log have to say to each other when a slot is settled.

Their prices and settlements are committed to in the main log; its contracts and its residual reach into their logs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ledger import drafts, tlog
from ledger.chain import Draft
from ledger.money import split_micro
from ledger.rules import State
from ledger.rules.closing import share_postings
from ledger.rules.state import CLEARING, RESIDUAL


class Settled(NamedTuple):
    """A party's standing settlement of a slot in its own log."""

    leaf: bytes
    wh: int
    micro: int
    traded_wh: int = 0
    """Of that energy, what contracts of the slot settle (sold +, bought -); `micro` is for the rest."""


class Side(NamedTuple):
    """A party's side of a contract of the main log: what it sold (+) or bought (-)."""

    contract: str
    leaf: str
    wh: int
    price_micro: int


class Share(NamedTuple):
    """What a party bears of the residual: its part of what all parties with logs of their own bear together."""

    of: str
    """Id of the main log's residual entry; "" if none asks for a share."""
    wh: int = 0
    flow_wh: int = 0
    value_micro: int = 0
    part_micro: int = 0


def commitment(leaves: Iterable[bytes]) -> str:
    """Hex Merkle root over the leaf hashes of entries in other logs."""
    return tlog.root(leaves).hex()


def sides(state: State, slot_us: int, party: str, leaf_of: Callable[[str], str]) -> list[Side]:
    """A party's contracts of a slot, from the main log's state; leaf_of : id -> leaf hash of the main log's entry."""
    found = []
    for identity in state.get(("contracts", slot_us), ()):
        _, buyer, seller, wh, price_micro = state["contract", identity]
        if party in (buyer, seller):
            found.append(Side(identity, leaf_of(identity), wh if party == seller else -wh, price_micro))
    return found


def shares(of: str, postings: Sequence[Sequence[Any]], apart: Mapping[str, Settled]) -> dict[str, Share]:
    """Each party's share of a residual entry of the main log, by largest remainder over their energies.

    postings : of that entry; what `clearing` pays there is what the parties with logs of their own bear
    """
    value = -sum(micro for account, micro, _ in postings if account == CLEARING)
    weights = {party: abs(one.wh) for party, one in apart.items()}
    if not value or not weights:
        return {}
    parts, flow_wh = split_micro(value, weights), sum(weights.values())
    return {party: Share(of, weights[party], flow_wh, value, part) for party, part in parts.items()}


def settle_share(state: State, slot_us: int, share: Share) -> list[Draft]:
    """The entries that make a party's share stand in its own log: nothing, a first one, or a reversal and the next."""
    genesis = state[("genesis",)]
    identity, run, standing = state.get((RESIDUAL, RESIDUAL, slot_us), ("", -1, False))
    if (state["rests_on", identity] if standing else "") == share.of:
        return []
    made = []
    if standing:
        postings = state["posted", identity][4]
        made.append(drafts.reversal(genesis["operator"], of=identity, postings=postings, reason="later readings"))
    if share.of:
        body = {
            "of": share.of,
            "slot": slot_us,
            "run": run + 1,
            "wh": share.wh,
            "flow_wh": share.flow_wh,
            "value_micro": share.value_micro,
            "postings": share_postings(genesis["party"], share.part_micro),
        }
        made.append(Draft("residual", body, f"res:{slot_us // drafts.US}:{run + 1}", genesis["operator"]))
    return made
