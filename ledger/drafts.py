"""Entries ready to append, with their ids: counters and times, never anything random."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from ledger.chain import Draft
from ledger.intervals import Quality
from ledger.keys import KeyRing

US = 1_000_000
GENESIS_DEFAULTS: dict[str, Any] = {
    "slot_s": 900,
    "residual_by": "operator",
    "residual_alarm_ppm": 30_000,
    "price_grace_us": 10_000,
    "facts": {},
}


def registration(
    wallet: str, role: str, *, meter: str, devices: Sequence[str], keys: KeyRing, n: int = 0, log: str = ""
) -> Draft:
    """Bind a wallet to its settlement meter ("" if it has none), other devices and key; `log`: its own log, if any."""
    public = keys.signer(wallet).verifier.public
    body = {
        "wallet": wallet,
        "role": role,
        "meter": meter,
        "devices": sorted(devices),
        "key": base64.b64encode(public).decode(),
    }
    if log:
        body["log"] = log
    return Draft("registration", body, f"reg:{wallet}:{n}", wallet)


def metering(
    wallet: str,
    device: str,
    *,
    start_us: int,
    period_s: int,
    root: str,
    count: int,
    wh: int,
    quality: Quality,
    rev: int = 0,
    reg: Sequence[int] | None = None,
    res_mwh: int | None = None,
) -> Draft:
    """A device's readings of one period. `reg` = (imp at start, imp at end, exp at start, exp at end), Wh;
    `res_mwh` the register's resolution in mWh if coarser than 1 Wh."""
    body: dict[str, Any] = {
        "device": device,
        "start": start_us,
        "period_s": period_s,
        "count": count,
        "root": root,
        "wh": wh,
        "quality": quality,
        "rev": rev,
    }
    if reg is not None:
        body["reg"] = list(reg)
    if res_mwh is not None:
        body["res"] = res_mwh
    return Draft("metering", body, metering_id(device, start_us, rev), wallet)


def metering_id(device: str, start_us: int, rev: int = 0) -> str:
    """Id of a metering entry."""
    return f"mtr:{device}:{start_us // US}:{rev}"


def dispatch(operator: str, *, slot_us: int, slot_s: int, plan: str, digest: str) -> Draft:
    """The setpoints of a slot as a SHA-256 digest (hex), and the id of the plan they follow."""
    body = {"slot": slot_us, "slot_s": slot_s, "plan": plan, "digest": digest}
    return Draft("dispatch", body, f"dsp:{slot_us // US}", operator)


def price(
    operator: str,
    *,
    slot_us: int,
    slot_s: int,
    buy: Mapping[str, int],
    sell: Mapping[str, int],
    plan: str,
    inputs: str,
    certificate: str,
    grid: str = "",
    import_price: int = 0,
    export_price: int = 0,
    commit: str = "",
) -> Draft:
    """Prices of a slot, micro-currency per kWh; those of the grid are the tariff (it sells at the import price).

    plan : the plan's id (no space)
    inputs, certificate : SHA-256 (hex) of what the plan was made from and of its certificate (solve time left out)
    grid : who sells at `import_price` and buys at `export_price`; left out in a party's own log
    commit : root over the price entries in the parties' own logs (settle.commitment), in the main log
    """
    body = {
        "slot": slot_us,
        "slot_s": slot_s,
        "buy": {**buy, grid: export_price} if grid else dict(buy),
        "sell": {**sell, grid: import_price} if grid else dict(sell),
        "plan": plan,
        "inputs": inputs,
        "certificate": certificate,
    }
    if commit:
        body["commit"] = commit
    return Draft("price", body, f"prc:{slot_us // US}", operator)


def reversal(operator: str, *, of: str, postings: Sequence[Sequence[Any]], reason: str) -> Draft:
    """The exact negation of a settlement, clearing or residual entry."""
    negated = [[account, -micro, -wh] for account, micro, wh in postings]
    return Draft("reversal", {"of": of, "postings": negated, "reason": reason}, f"rev:{of}", operator)


def anchor(
    by: str, *, origin: str, size: int, root: str, note: str, direction: str, proof: Sequence[str] = ()
) -> Draft:
    """The head of another log; `note` digests its checkpoint's text, `proof` is hex hashes from the last anchor."""
    body = {"origin": origin, "size": size, "root": root, "note": note, "direction": direction, "proof": list(proof)}
    return Draft("anchor", body, f"anc:{origin}:{size}", by)
