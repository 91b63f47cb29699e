"""Turbine commitment as integer columns: on/off, starts, stops, minimum times, ramps (models/twostage.md section 2)."""

from __future__ import annotations

from math import ceil

import numpy as np

from controller.case import FloatArray, Turbine
from controller.qp import IntArray, Model, Program, Term, Vectors
from controller.stackelberg.player import Player, turbine_limits_kw
from controller.stackelberg.terms import Commitment


def declare_commitment(program: Program, player: Player, asset: Turbine, whole: int) -> list[Term]:
    """Columns u, start, stop, power and their rows; u is integer in the first `whole` steps, relaxed after them."""
    n, hours, name = player.steps, player.hours, asset.id
    lowest, ramp, jump = turbine_limits_kw(asset, hours)
    first = program.add_columns(f"{name}.on", whole, hi=1.0, cost=asset.cost_c_per_h * hours[:whole], integer=True)
    rest = program.add_columns(f"{name}.on.tail", n - whole, hi=1.0, cost=asset.cost_c_per_h * hours[whole:])
    on = np.concatenate([first, rest])
    start = program.add_columns(f"{name}.start", n, hi=1.0, cost=asset.start_cost)
    stop = program.add_columns(f"{name}.stop", n, hi=1.0, cost=asset.stop_cost)
    power = program.add_columns(f"{name}.p", n, hi=asset.p_max_w / 1000, cost=asset.cost_b_per_kwh * hours)
    program.add_product(power, power, asset.cost_a_per_kw2h * hours)
    switch = program.add_rows(f"{name}.switch", n, (on, 1.0), (start, -1.0), (stop, 1.0))
    program.add_entries(switch[1:], on[:-1], -1.0)
    program.add_rows(f"{name}.lowest", n, (power, 1.0), (on, -lowest), lo=0.0, hi=np.inf)
    program.add_rows(f"{name}.highest", n, (power, 1.0), (on, -asset.p_max_w / 1000), lo=-np.inf, hi=0.0)
    up = program.add_rows(f"{name}.up", n, (power, 1.0), (start, -jump), lo=-np.inf, hi=0.0)
    program.add_entries(up[1:], power[:-1], -1.0)
    program.add_entries(up[1:], on[:-1], -ramp[1:])
    down = program.add_rows(f"{name}.down", n, (power, -1.0), (on, -ramp), (stop, -jump), lo=-np.inf, hi=0.0)
    program.add_entries(down[1:], power[:-1], 1.0)
    _declare_minimum_times(program, asset, player, first, start, stop)
    return [(power, 1.0)]


def _declare_minimum_times(
    program: Program, asset: Turbine, player: Player, on: IntArray, start: IntArray, stop: IntArray
) -> None:
    """Starts within the last min_up steps keep it on, stops within the last min_down keep it off (Rajan-Takriti)."""
    slot_h = float(player.hours[0])
    up, down = steps_of(asset.min_up_s, slot_h), steps_of(asset.min_down_s, slot_h)
    whole = on.shape[0]
    for name, columns, length, sign, limit in (("up", start, up, -1.0, 0.0), ("down", stop, down, 1.0, 1.0)):
        if length <= 1:
            continue
        rows = program.add_rows(f"{asset.id}.min.{name}", whole, (on, sign), lo=-np.inf, hi=limit)
        for back in range(length):
            program.add_entries(rows[back:], columns[: whole - back], 1.0)


def fill_commitment(model: Model, vectors: Vectors, player: Player, asset: Turbine) -> None:
    """The present state: previous on and power, and the slots it must still keep its state."""
    name, was_on = asset.id, float(asset.on)
    before_kw = power_before_kw(asset)
    first = model.rows[f"{name}.switch"][0]
    vectors.row_lo[first] = vectors.row_hi[first] = was_on
    _, ramp, _ = turbine_limits_kw(asset, player.hours)
    vectors.row_hi[model.rows[f"{name}.up"][0]] = before_kw + ramp[0] * was_on
    vectors.row_hi[model.rows[f"{name}.down"][0]] = -before_kw
    held = model.cols[f"{name}.on"][: still_held_steps(asset, float(player.hours[0]))]
    vectors.col_lo[held] = vectors.col_hi[held] = was_on


def commitment_of(asset: Turbine, on: FloatArray) -> Commitment:
    """A turbine's commitment from its on states and its present state."""
    return Commitment(on=on, p_before_kw=power_before_kw(asset), on_before=asset.on)


def power_before_kw(asset: Turbine) -> float:
    """Present power inside its limits: while it starts it counts as running at its lowest."""
    return min(max(asset.p_w, asset.p_min_w), asset.p_max_w) / 1000 if asset.on else 0.0


def still_held_steps(asset: Turbine, slot_h: float) -> int:
    """Steps in which it must keep its present state."""
    least_s = asset.min_up_s if asset.on else asset.min_down_s
    return steps_of(max(least_s - asset.held_s, 0.0), slot_h)


def steps_of(seconds: float, slot_h: float) -> int:
    """Whole steps that cover a time."""
    return ceil(seconds / 3600 / slot_h - 1e-9)
