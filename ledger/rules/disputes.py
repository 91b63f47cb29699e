"""What follows a settlement: a party disputes it, the operator decides, and what was delivered makes its reputation."""

from __future__ import annotations

from ledger.money import half_even
from ledger.rules.state import Changes, Entry, State, body_of, by_operator, refuse

PPM = 1_000_000
TOLERANCE_PPM = 20_000
"""Deviation from the contract up to which delivery counts as exact (paper 001, eq 5)."""
FIRST_REPUTATION_PPM = 800_000
"""Reputation of a party before its first evaluation [chosen: the paper's parties have 0.66 to 0.97]."""
MAX_REASON = 200
_REPUTATION: dict[str, type] = {
    "party": str,
    "since": int,
    "until": int,
    "contracted_wh": int,
    "deviation_wh": int,
    "a_ppm": int,
    "r_ppm": int,
}


def dispute(state: State, entry: Entry) -> Changes:
    """A party's signed objection to an entry that moved its wallet and stands."""
    body, by = body_of(entry, {"of": str, "reason": str}), entry["by"]
    posted = state.get(("posted", body["of"]))
    if not posted or by not in {account for account, _, _ in posted[4]}:
        refuse(entry, f"{body['of']!r} is no standing entry that moved the wallet of {by}")
    if len(body["reason"]) > MAX_REASON or state.get(("disputed", body["of"])):
        refuse(entry, f"disputed already, or a reason of more than {MAX_REASON} signs")
    return {("dispute", entry["id"]): (body["of"], by, "open"), ("disputed", body["of"]): entry["id"]}


def decision(state: State, entry: Entry) -> Changes:
    """The operator's word on a dispute. Upheld, the disputed entry must be reversed before money moves elsewhere."""
    body = body_of(entry, {"dispute": str, "upheld": bool, "reason": str})
    by_operator(entry, state)
    found = state.get(("dispute", body["dispute"]))
    if found is None or found[2] != "open" or len(body["reason"]) > MAX_REASON:
        refuse(entry, f"no open dispute {body['dispute']!r}")
    of, by, _ = found
    facts: Changes = {("dispute", body["dispute"]): (of, by, "upheld" if body["upheld"] else "rejected")}
    facts["disputed", of] = ""
    if body["upheld"] and state.get(("posted", of)):
        facts[("must_reverse",)] = of
    return facts


def must_reverse(state: State, entry: Entry) -> Changes:
    """Refuse any movement but the reversal that an upheld dispute asks for; that one lifts the obligation."""
    of = state.get(("must_reverse",))
    if not of:
        return {}
    if entry["type"] != "reversal" or entry["body"].get("of") != of:
        refuse(entry, f"{of} was disputed and the dispute upheld", "reverse it first")
    return {("must_reverse",): ""}


def reputation(state: State, entry: Entry) -> Changes:
    """A party's evaluation over the contracts of slots in [since, until), and its reputation after it, in ppm."""
    body = body_of(entry, _REPUTATION)
    by_operator(entry, state)
    if ("apart", body["party"]) in state:
        refuse(entry, f"{body['party']} is metered in a log of its own", "evaluate it there")
    last = state.get(("reputation", body["party"]))
    if (last is not None and body["since"] != last[0]) or body["until"] <= body["since"]:
        refuse(entry, f"evaluates from {body['since']}, the last evaluation ended at {last[0] if last else 'none'}")
    figures = reputation_figures(state, body["party"], body["since"], body["until"])
    if figures is None:
        refuse(entry, f"{body['party']} has no contract in this time, or one that is not metered yet")
    if differing := [name for name, value in figures.items() if body[name] != value]:
        refuse(entry, f"{', '.join(differing)} differ from those recomputed: {figures}")
    return {("reputation", body["party"]): (body["until"], body["a_ppm"], body["r_ppm"])}


def reputation_figures(state: State, party: str, since: int, until: int) -> dict[str, int] | None:
    """Paper 001, eqs 5-7, in integers; None without a metered contract.

    a = 1 if the deviation is at most 2 % of what was contracted, else 1 - deviation (not below 0);
    R += (a - a')^2 (1 - R) if a >= a', else R -= (a - a')^2 R, with a' the evaluation before: R stays in [0, 1].
    """
    contracted = deviation = 0
    for slot in state.get(("trading", party), ()):
        if since <= slot < until:
            metered = state.get(("metered", state["meter", party], slot))
            if metered is None:
                return None
            traded = state["traded", party, slot]
            contracted += abs(traded)
            deviation += abs(metered[2] - traded)
    if not contracted:
        return None
    share = half_even(deviation * PPM, contracted)
    a = PPM if share <= TOLERANCE_PPM else max(PPM - share, 0)
    _, before, r = state.get(("reputation", party), (0, PPM, FIRST_REPUTATION_PPM))
    weight = (a - before) ** 2
    r += half_even(weight * (PPM - r), PPM**2) if a >= before else -half_even(weight * r, PPM**2)
    return {"contracted_wh": contracted, "deviation_wh": deviation, "a_ppm": a, "r_ppm": r}


def reputations(state: State) -> dict[str, float]:
    """Party -> reputation in [0, 1], of those that were evaluated."""
    found = {party: state.get(("reputation", party)) for party in state.get(("parties",), ())}
    return {party: last[2] / PPM for party, last in found.items() if last is not None}
