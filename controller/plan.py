"""Plan, Order, Certificate, Budget: what a mechanism returns and what it may spend."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

Stage = Literal["day_ahead", "intraday"]
OrderKind = Literal["fixed", "cover", "soak", "selfuse"]
FREE_W = 2_147_483_647
"""Cap of a slot in which a curtailable device runs free."""


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """Work a solve may spend. In lockstep and replay wall_s must be None: nothing may depend on the machine's speed."""

    gap: float = 0.01
    rounds: int = 3
    nodes: int = 200
    iterations: int = 400
    wall_s: float | None = None


class Order(msgspec.Struct, frozen=True):
    """What a device is asked to do in one slot (specs/dispatch.md). Bus sign: discharge and generation positive."""

    kind: OrderKind
    p_ref_w: int
    """Reference power, W; for a flexible load or PV its expected power."""
    cap_w: int
    """Largest magnitude, W; for a flexible load or PV the limit on its power."""
    value_per_kwh: float | None = None
    """Worth of stored energy (dual of the state of charge), currency per kWh; None where nothing is stored."""
    at_least_w: int = 0
    """Planned sale through the party's meter, W, >= 0: a storage that covers gives at least this much, whatever the
    measured net load."""


class Reason(msgspec.Struct, frozen=True):
    """A limit that binds: who, in which slot, which limit, and what one more unit of it would be worth."""

    who: str
    slot: int
    limit: str
    shadow_price: float


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """How good a plan is known to be."""

    objective: float
    bound: float | None
    """Best possible objective, None if no bound was computed."""
    gap: float | None
    """|bound - objective| / max(|objective|, 1 % of turnover at market prices, 0.01)."""
    residuals: dict[str, float]
    deviation_gain: float | None
    """Largest gain any player has by deviating alone, currency per plan, by an independent solve."""
    optimal: Literal["proved", "bounded", "heuristic"]
    solver: str
    version: str
    work: dict[str, int]
    deviation_gains: dict[str, float] = {}
    """The same of each player by its party, rounded to 1e-6."""
    solve_s: float | None = None
    """Filled in by twin: controller has no clock."""


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """Planned trajectory of one asset, a value per slot."""

    p_w: tuple[int, ...]
    on: tuple[bool, ...] = ()
    soc_pu: tuple[float, ...] = ()
    """State of charge at the END of each slot."""
    value_per_kwh: tuple[float, ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a mechanism for one horizon. `id` is a hash of the content (solve time excluded)."""

    id: str
    mechanism: str
    stage: Stage
    start_us: int
    slot_s: int
    orders: dict[str, tuple[Order, ...] | None]
    buy_per_kwh: dict[str, tuple[float, ...]]
    """Price a party pays for energy it takes, per slot."""
    sell_per_kwh: dict[str, tuple[float, ...]]
    """Price a party gets for energy it gives, per slot."""
    energy_wh: dict[str, tuple[int, ...]]
    """Expected net energy per party and slot, bus sign (given positive)."""
    payment_micro: dict[str, tuple[int, ...]]
    """Expected payments received (+) or made (-) per party and slot, micro-currency; all parties sum to zero."""
    trades: tuple[tuple[str, str, int, int, float], ...] = ()
    """(seller, buyer, slot, energy_wh, price_per_kwh) of mechanisms that match parties; empty elsewhere."""
    reasons: tuple[Reason, ...] = ()
    certificate: Certificate
    schedule: dict[str, Schedule] = {}

    @property
    def slots(self) -> int:
        """Number of slots, from the longest price row."""
        return max((len(row) for row in self.buy_per_kwh.values()), default=0)


def sealed(plan: Plan) -> Plan:
    """The same plan with `id` set to the hash of its content; solve_s and id itself do not count."""
    bare = msgspec.structs.replace(plan, id="", certificate=msgspec.structs.replace(plan.certificate, solve_s=None))
    digest = hashlib.sha256(msgspec.json.encode(bare, order="deterministic")).hexdigest()
    return msgspec.structs.replace(plan, id=f"{plan.mechanism}:{plan.stage}:{digest[:32]}")
