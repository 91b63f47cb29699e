"""The on-chain rate: which share of what was metered the rules settled by themselves."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from ledger.rules import State


def onchain_rate(states: Iterable[State], since_us: int, until_us: int) -> Fraction:
    """Automatically settled requests / all transaction requests, over slots starting in [since, until).

    states : of the main log and of the parties' own logs; a party is looked at in the one log where it is settled

    A request is a slot for which registers of a party's settlement meter are in (the operator's own excepted, which
    trades with no one);
    it counts as settled while a settlement entry stands that rests on the meter's latest readings. Without any request
    the rate is 0: nothing was shown.
    """
    requests = settled = 0
    for state in states:
        asked, done = _counts(state, since_us, until_us)
        requests, settled = requests + asked, settled + done
    return Fraction(settled, requests) if requests else Fraction(0)


def _counts(state: State, since_us: int, until_us: int) -> tuple[int, int]:
    """(requests, settled) of one log."""
    operator = state[("genesis",)]["operator"]
    parties = [party for party in state.get(("parties",), ()) if party != operator and ("apart", party) not in state]
    meters = {state["meter", party]: party for party in parties}
    requests = settled = 0
    for key, metered in state.items():
        if key[0] != "asks" or key[1] not in meters or not since_us <= key[2] < until_us:
            continue
        requests += 1
        identity, _, standing = state.get(("settled", meters[key[1]], key[2]), ("", -1, False))
        settled += bool(standing and state.get(("rests_on", identity)) == metered)
    return requests, settled
