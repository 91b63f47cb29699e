"""Tool entries: genesis, who is registered with which meter and key, key rotation, clock faults, rules, witnesses."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from ledger import canon
from ledger.errors import NoteError
from ledger.note import Verifier, ed25519_verify
from ledger.rules.state import CLEARING, RESIDUAL, Changes, Entry, State, body_of, is_name, refuse

FORMAT = 1
ACCOUNTS = (CLEARING, RESIDUAL)
"""Accounts that belong to no one."""
BORNE_BY = ("operator", "pro_rata")
_GENESIS: dict[str, type] = {
    "format": int,
    "currency": str,
    "operator": str,
    "grid": str,
    "slot_s": int,
    "residual_by": str,
    "residual_alarm_ppm": int,
    "price_grace_us": int,
    "keys": str,
    "log_key": str,
    "facts": dict,
}
_REGISTRATION: dict[str, type] = {"wallet": str, "role": str, "meter": str, "devices": list, "key": str}


def genesis(state: State, entry: Entry) -> Changes:
    """The first entry: currency, operator, grid, slot length, who bears the residual, the log's key, facts.

    `party` makes it the log of that party alone; `main` is then the key of the log that holds commitments and totals.
    """
    body = body_of(entry, _GENESIS, {"party": str, "main": str})
    if entry["seq"] != 0 or ("genesis",) in state:
        refuse(entry, "genesis is the first entry and the only one of its type")
    if body["format"] != FORMAT:
        refuse(entry, f"format {body['format']}, this program knows {FORMAT}", "use a newer vpptwin")
    if body["residual_by"] not in BORNE_BY or body["slot_s"] <= 0 or body["keys"] not in ("derived", "random"):
        refuse(entry, "genesis names residual_by, slot_s or keys out of range", f"residual_by: {', '.join(BORNE_BY)}")
    if not (is_name(body["operator"]) and is_name(body["grid"]) and body["operator"] != body["grid"]):
        refuse(entry, "operator and grid are two names")
    if ("party" in body) is not ("main" in body) or not is_name(body.get("party", "party")):
        refuse(entry, "a party's log names the party and the main log's key")
    if body.get("party", "party") in (body["operator"], body["grid"], *ACCOUNTS):
        refuse(entry, "operator and grid stand in the main log")
    if not 0 <= body["price_grace_us"] <= 60_000_000 or not 0 < body["residual_alarm_ppm"] <= 1_000_000:
        refuse(entry, "price_grace_us or residual_alarm_ppm out of range")
    _vkey(entry, body["log_key"], entry["log"])
    return {("genesis",): body, ("rules",): entry["rules"], ("log_keys",): ((0, body["log_key"]),)}


def registration(state: State, entry: Entry) -> Changes:
    """Bind a wallet to its settlement meter, other devices and key. One meter has one wallet; a device moves to another
    wallet only with the old wallet's signature (`release`). A party whose own `log` is named is settled there."""
    body = body_of(entry, _REGISTRATION, {"release": str, "log": str})
    wallet, meter = body["wallet"], body["meter"]
    if state[("genesis",)].get("party", wallet) != wallet or body.get("log") == entry["log"]:
        refuse(entry, "this is the log of another party, or a log that names itself")
    if not is_name(wallet) or wallet in ACCOUNTS or entry["by"] != wallet or not is_name(body["role"]):
        refuse(entry, f"{wallet!r} must register itself, under a proper name and role")
    names = [meter, *body["devices"]] if meter else list(body["devices"])
    if not all(is_name(name) for name in names) or len(set(names)) != len(names):
        refuse(entry, "devices are distinct names")
    if state.get(("actor", wallet), body["key"]) != body["key"]:
        refuse(entry, "the wallet has another key", "rotate it by key.rotate")
    facts: Changes = {("actor", wallet): body["key"], ("role", wallet): body["role"], ("meter", wallet): meter}
    if "log" in body:
        facts["apart", wallet] = body["log"]
    facts[("parties",)] = tuple(sorted({*state.get(("parties",), ()), wallet}))
    for name in names:
        owner = state.get(("device", name), wallet)
        if owner != wallet:
            _released(state, entry, owner, names)
            if state.get(("meter", owner)) == name:
                facts["meter", owner] = ""
        facts["device", name] = wallet
    return facts


def key_rotate(state: State, entry: Entry) -> Changes:
    """Replace the key of an actor or of the log: signed with the old key, with a proof of holding the new one."""
    body = body_of(entry, {"name": str, "generation": int, "key": str, "proof": str})
    name, log = body["name"], entry["log"]
    if entry["by"] != name or body["generation"] != state.get(("generation", name), 0) + 1:
        refuse(entry, "a key is rotated by its owner, to the next generation")
    key = _vkey(entry, body["key"], log).public if name == log else _public(entry, body["key"])
    if not ed25519_verify(
        key, unbase64(body["proof"]), b"vpptwin/rotate/v1\n" + f"{log}\n{name}\n{body['key']}".encode()
    ):
        refuse(entry, "no proof of holding the new key")
    facts: Changes = {("generation", name): body["generation"]}
    if name == log:
        facts[("log_keys",)] = (*state[("log_keys",)], (entry["seq"], body["key"]))
    else:
        facts["actor", name] = body["key"]
    return facts


def clock(state: State, entry: Entry) -> Changes:
    """The clock fell behind the last entry by more than 5 s, or caught up. While behind, no checkpoint is signed."""
    body = body_of(entry, {"behind_us": int})
    if body["behind_us"] < 0 or (body["behind_us"] == 0) is not bool(state.get(("clock",), 0)):
        refuse(entry, "the clock is already in this state")
    return {("clock",): body["behind_us"]}


def rules(state: State, entry: Entry) -> Changes:
    """From here on entries are written under other rules."""
    body = body_of(entry, {"before": str, "after": str})
    if body["before"] != state[("rules",)] or body["after"] != entry["rules"] or body["before"] == body["after"]:
        refuse(entry, "a change of rules names those before and those of this entry")
    return {("rules",): body["after"]}


def node_join(state: State, entry: Entry) -> Changes:
    """A witness joins: its name and cosigning key."""
    body = body_of(entry, {"node": str, "key": str})
    if ("node", body["node"]) in state and state["node", body["node"]]:
        refuse(entry, f"{body['node']} has joined already")
    _vkey(entry, body["key"], body["node"])
    return {("node", body["node"]): body["key"]}


def node_leave(state: State, entry: Entry) -> Changes:
    """A witness leaves."""
    body = body_of(entry, {"node": str})
    if not state.get(("node", body["node"])):
        refuse(entry, f"{body['node']} has not joined")
    return {("node", body["node"]): ""}


def actor_message(entry: Entry) -> bytes:
    """What an actor signs: body, by, id, log and type, so that the signature holds in this log only."""
    return b"vpptwin/actor/v1\n" + canon.dumps({name: entry[name] for name in ("body", "by", "id", "log", "type")})


def release_message(log: str, owner: str, wallet: str, devices: list[str]) -> bytes:
    """What the old owner signs when devices move to another wallet."""
    return b"vpptwin/release/v1\n" + canon.dumps({"devices": devices, "from": owner, "log": log, "to": wallet})


def check_signature(state: State, entry: Entry) -> None:
    """Refuse unless `sig` is the signature of the actor named in `by` (for a registration: of the key in its body)."""
    sig, by = entry.get("sig"), entry["by"]
    key = entry["body"].get("key", "") if entry["type"] == "registration" else state.get(("actor", by), "")
    if by == entry["log"]:
        key = base64.b64encode(Verifier.parse(state[("log_keys",)][-1][1]).public).decode()
    if type(sig) is not dict or sig.keys() != {"kid", "s"} or not all(type(part) is str for part in sig.values()):
        refuse(entry, f"needs the signature of {by}", "sign it with the actor's key")
    if not key or not ed25519_verify(_public(entry, key), unbase64(sig["s"]), actor_message(entry)):
        refuse(entry, f"not a signature of {by}", "sign body, by, id, log and type with the registered key")


def unbase64(text: str) -> bytes:
    """Decoded bytes; empty if it is no base64 (an empty signature never verifies)."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _released(state: State, entry: Entry, owner: str, devices: list[Any]) -> None:
    body = entry["body"]
    message = release_message(entry["log"], owner, body["wallet"], devices)
    key = _public(entry, state.get(("actor", owner), ""))
    if not ed25519_verify(key, unbase64(body.get("release", "")), message):
        refuse(entry, f"a device is bound to {owner}", f"needs the release signature of {owner}")


def _public(entry: Entry, key: object) -> bytes:
    raw = unbase64(key) if type(key) is str else b""
    if len(raw) != 32 or base64.b64encode(raw).decode() != key:
        refuse(entry, "a key is 32 bytes in base64")
    return raw


def _vkey(entry: Entry, key: str, name: str) -> Verifier:
    try:
        verifier = Verifier.parse(key)
    except NoteError as error:
        refuse(entry, str(error))
    if verifier.name != name or verifier.vkey != key:
        refuse(entry, f"key {key[:60]!r} is not one of {name}")
    return verifier
