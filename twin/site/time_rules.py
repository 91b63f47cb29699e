"""What must hold between the steps of time: ticks fill slots, slots fill hours and days, leases outlive ticks."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

from twin.document.fields import Record
from twin.site.schema import TimeSpec


def check_time(top: Record) -> None:
    """Every rule of the section `time`, with its defaults where it says nothing."""
    time = top["time"]
    if not time:
        return
    slot = time["slot_s"]
    if slot:
        _check_slot(time, slot, (top["site"] or time)["zone"])
    tick = time["tick_s"]
    if tick:
        _check_tick(time, tick, slot or TimeSpec().slot_s)


def _check_slot(time: Record, slot: int, zone: str | None) -> None:
    if 3600 % slot:
        time.refuse("slot_s", f"{slot} does not divide an hour", "allowed: 60, 300, 600, 900, 1800, 3600, ...")
    elif zone and _offset_s(zone) % slot:
        what = f"midnight in {zone} is not on the edge of a slot of {slot} s"
        time.refuse("slot_s", what, "choose slots that divide the zone's offset from UTC")
    delay = time["plan_delay_s"]
    if delay and delay >= slot:
        time.refuse("plan_delay_s", f"{delay} is not below slot_s ({slot})", "a plan must take effect in its slot")


def _check_tick(time: Record, tick: int, slot: int) -> None:
    if slot % tick:
        time.refuse("slot_s", f"{slot} is no multiple of tick_s ({tick})", "a slot is a whole number of ticks")
    lease = time["lease_s"]
    if lease and 3 * tick > lease:
        time.refuse("tick_s", f"{tick} is more than a third of lease_s ({lease})", "a lease outlives three ticks")
    physics = time["physics_s"]
    if physics and tick % physics:
        time.refuse("physics_s", f"{physics} does not divide tick_s ({tick})", "a tick is whole steps of physics")


def _offset_s(zone: str) -> int:
    offset = ZoneInfo(zone).utcoffset(dt.datetime(2020, 1, 1))
    return int(offset.total_seconds()) if offset else 0
