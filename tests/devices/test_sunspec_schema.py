"""Compiled SunSpec plans: sizes, sentinels, scale factors, and agreement with pysunspec2 on the same bytes."""

from __future__ import annotations

import math
import struct

import pytest
import sunspec2.modbus.client as oracle
from hypothesis import given
from hypothesis import strategies as st

from devices.sunspec import SunSpecImage, compile_model, fit_model
from devices.sunspec.errors import SunSpecError
from devices.sunspec.schema import definition

MODELS = (1, 103, 120, 121, 122, 123, 124, 160, 203, 213, 701, 702, 704, 713, 714, 715)


@pytest.mark.parametrize("model", MODELS)
def test_length_is_the_published_one(model: int) -> None:
    plan = compile_model(model)
    assert plan.length == sum(plan.offset(name)[1] for name in plan.points)
    header = [point["name"] for point in definition(model)["group"]["points"][:2]]
    assert [name for name, point in plan.points.items() if point.offset < 2] == header


@pytest.mark.parametrize("model", MODELS)
def test_an_empty_block_decodes_to_its_header_alone(model: int) -> None:
    plan = compile_model(model)
    assert plan.decode(plan.encode({})) == {"ID": model, "L": plan.length - 2}


def _oracle(registers: list[int], model: int) -> oracle.SunSpecModbusClientModel:
    data = struct.pack(f">{len(registers)}H", *registers)
    return oracle.SunSpecModbusClientModel(model, data=data)


@given(
    w=st.integers(-32767, 32767),
    hz=st.integers(0, 2**32 - 2),
    wh=st.integers(0, 2**50),
    power=st.integers(-4, 4),
    alarm=st.integers(0, 2**32 - 2),
)
def test_model_701_is_read_alike_by_pysunspec2(w: int, hz: int, wh: int, power: int, alarm: int) -> None:
    plan = compile_model(701)
    factors = {"W_SF": power, "Hz_SF": -3, "TotWh_SF": 0}
    unit = 10.0**power
    registers = plan.encode({"W": w * unit, "Hz": hz / 1000, "TotWhInj": wh, "Alrm": alarm}, factors)
    theirs = _oracle(registers, 701)
    ours = plan.decode(registers)
    assert ours["W"] == pytest.approx(theirs.W.cvalue, rel=1e-12)
    assert ours["Hz"] == pytest.approx(theirs.Hz.cvalue, rel=1e-12)
    assert (ours["TotWhInj"], ours["Alrm"]) == (theirs.TotWhInj.cvalue, theirs.Alrm.cvalue)
    assert "VA" not in ours
    assert theirs.VA.cvalue is None


@given(values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3))
def test_float_meter_213_is_read_alike_by_pysunspec2(values: list[float]) -> None:
    plan = compile_model(213)
    registers = plan.encode(dict(zip(("W", "Hz", "TotWhImp"), values, strict=True)))
    theirs = _oracle(registers, 213)
    ours = plan.decode(registers)
    assert (
        [ours["W"], ours["Hz"], ours["TotWhImp"]] == values == [theirs.W.value, theirs.Hz.value, theirs.TotWhImp.value]
    )
    assert "VA" not in ours


def test_setpoint_words_in_704_are_read_alike_by_pysunspec2() -> None:
    plan = compile_model(704)
    values = {"WSet": -2500, "WSetEna": 1, "WSetRvrtTms": 180, "WMaxLimPct": 37.5, "PFWInj.PF": 0.95, "PFWInj.Ext": 1}
    registers = plan.encode(values, {"WSet_SF": 0, "WMaxLimPct_SF": -1, "PF_SF": -2})
    theirs = _oracle(registers, 704)
    assert theirs.WSet.cvalue == -2500
    assert theirs.WMaxLimPct.cvalue == 37.5
    assert theirs.PFWInj.PF.cvalue == 0.95
    assert values.items() <= plan.decode(registers).items()


def test_repeating_ports_of_714_are_fitted_from_the_length() -> None:
    plan = compile_model(714, {"NPrt": 2})
    fitted = fit_model(714, plan.length)
    registers = plan.encode({"NPrt": 2, "Prt[1].DCW": 1200, "Prt[1].IDStr": "string 2"}, {"DCW_SF": 1})
    assert fitted.decode(registers)["Prt[1].DCW"] == 1200
    assert fitted.decode(registers)["Prt[1].IDStr"] == "string 2"
    with pytest.raises(SunSpecError, match="714"):
        fit_model(714, plan.length + 1)


@pytest.mark.parametrize("power", [11, -11, 300, -0x8000])
def test_a_scale_factor_out_of_range_makes_its_points_missing(power: int) -> None:
    image = SunSpecImage([713])
    image.set(713, {"Pct_SF": -2, "SoC": 50, "WH_SF": 0, "WHRtg": 6400})
    image.write(image.address(713, "Pct_SF"), [power & 0xFFFF])
    assert "SoC" not in image.get(713)
    assert image.get(713)["WHRtg"] == 6400


def test_a_selection_reads_only_what_it_needs_and_agrees_with_the_whole() -> None:
    plan = compile_model(701)
    registers = plan.encode({"W": 1500, "Hz": 50.01, "St": 1}, {"W_SF": 1, "Hz_SF": -2})
    some = plan.select(("W", "Hz", "St", "VA"))
    assert some.decode(registers[some.first : some.first + some.count]) == {"W": 1500, "Hz": 50.01, "St": 1}


@given(value=st.floats() | st.integers(-(10**9), 10**9), power=st.integers(-12, 12))
def test_what_does_not_fit_is_refused_never_clipped(value: float, power: int) -> None:
    plan = compile_model(701)
    try:
        registers = plan.encode({"W": value}, {"W_SF": power})
    except SunSpecError:
        return
    assert math.isclose(float(plan.decode(registers)["W"]), value, abs_tol=0.51 * 10.0**power)


def test_the_image_keeps_values_when_a_scale_factor_changes() -> None:
    image = SunSpecImage([1, 701, 704])
    assert image.registers[:2] == [0x5375, 0x6E53]
    assert image.registers[-2:] == [0xFFFF, 0]
    assert image.registers[image.address(704) - image.base] == 704
    image.set(1, {"Mn": "vpptwin", "Md": "bat-1"})
    image.set(701, {"W_SF": -1, "W": 123.4})
    image.set(701, {"W_SF": 0})
    assert image.get(701)["W"] == 123
    image.set(701, {"W": None})
    assert "W" not in image.get(701)
    with pytest.raises(SunSpecError, match="NoSuch"):
        image.set(701, {"NoSuch": 1})
    with pytest.raises(SunSpecError, match="VA_SF"):
        image.set(701, {"VA": 1})
