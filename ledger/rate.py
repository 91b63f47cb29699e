"""The on-chain rate: which share of what was metered the rules settled by themselves."""

from __future__ import annotations

from fractions import Fraction

from ledger.rules import State


def onchain_rate(state: State, since_us: int, until_us: int) -> Fraction:
    """Automatically settled requests / all transaction requests, over slots starting in [since, until).

    A request is a metered slot of a party's settlement meter (the operator's own excepted, which trades with no one);
    it counts as settled while a settlement entry stands that rests on the meter's latest readings. Without any request
    the rate is 0: nothing was shown.
    """
    operator = state[("genesis",)]["operator"]
    meters = {state["meter", party]: party for party in state.get(("parties",), ()) if party != operator}
    requests = settled = 0
    for key, metered in state.items():
        if key[0] != "metered" or key[1] not in meters or not since_us <= key[2] < until_us:
            continue
        requests += 1
        identity, _, standing = state.get(("settled", meters[key[1]], key[2]), ("", -1, False))
        settled += bool(standing and state.get(("rests_on", identity)) == metered[0])
    return Fraction(settled, requests) if requests else Fraction(0)
