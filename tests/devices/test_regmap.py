"""Register maps: what the loader refuses and where it says so, codecs, formulas, blocks, sign."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.regmap import load_map, shipped_maps
from devices.regmap.codec import codec
from devices.regmap.errors import MapFaults, RegmapError
from devices.regmap.expression import parse
from devices.regmap.loader import parse_map
from devices.regmap.map import sign_factor

HEAD = """schema: 1
model: probe
kind: storage
transport: {max_block: 20, max_gap: 2}
groups: {fast: 1.0, slow: 10.0}
"""
POINTS = """points:
  p_w: {fc: 3, addr: 10, type: int16, unit: W, group: fast, sf: p_sf}
  p_sf: {fc: 3, addr: 12, type: int16, group: fast}
  soc_pu: {fc: 3, addr: 14, type: uint16, group: fast, scale: 0.001, nan: 0xFFFF, valid: [0, 1]}
  cha_w: {fc: 3, addr: 20, type: uint16, group: fast}
  t_c: {fc: 3, addr: 15, type: int16, group: slow}
"""


def faults(text):
    with pytest.raises(MapFaults) as caught:
        parse_map(text, "probe.yaml")
    return caught.value.faults


@pytest.mark.parametrize("name", shipped_maps())
def test_every_shipped_map_loads_and_fits_its_blocks(name):
    map_ = load_map(name)
    assert sorted(point.name for block in map_.blocks for point in block.points) == sorted(map_.points)
    for block in map_.blocks:
        assert block.count <= map_.transport.max_block


def test_the_eastron_registers_are_those_of_its_handbook():
    points = load_map("eastron-sdm630").points
    found = {name: (points[name].row.fc, points[name].addr) for name in ("p_w", "f_hz", "e_imp_wh", "e_exp_wh")}
    assert found == {"p_w": (4, 0x34), "f_hz": (4, 0x46), "e_imp_wh": (4, 0x48), "e_exp_wh": (4, 0x4A)}
    assert points["e_imp_wh"].decode(points["e_imp_wh"].encode(1234500.0)) == 1234500.0


def test_all_faults_come_at_once_with_their_lines():
    text = HEAD + POINTS + "  e_imp_wh: {fc: 3, addr: 14, type: uint32, group: fast, colour: red}\n  q_var: {fc: 9}\n"
    text += "  s_va: {fc: 3, addr: 11, type: int32, group: never}\nderived: {h_w: 'p_w + nothing'}\nextra: 1\n"
    first = faults(text)
    assert any("extra" in fault for fault in first)
    rest = faults(text.replace("extra: 1\n", ""))
    assert [fault.split()[0] for fault in rest] == [f"probe.yaml:{line}" for line in (12, 13, 14, 14, 15)]
    assert "colour" in rest[0]
    assert "overlaps p_sf (line 8)" in "".join(rest)


@pytest.mark.parametrize(
    ("change", "line", "word"),
    [
        (("type: uint16, group: fast, scale", "type: uint17, group: fast, scale"), 9, "uint17"),
        (("sf: p_sf", "sf: nowhere"), 7, "nowhere"),
        (("addr: 12, type: int16, group: fast", "addr: 12, type: int16, group: slow"), 7, "same read"),
        (("addr: 20, type", "addr: 14, type"), 10, "overlaps soc_pu"),
        (("addr: 20", "addr: 65536"), 10, "address 65536"),
        (("kind: storage", "kind: toaster"), 3, "toaster"),
        (("model: probe", "model: probe\nmodel: again"), 3, "given twice"),
        (("addr: 12, type: int16", "addr: 40, type: int16"), 6, "must fit one request"),
    ],
)
def test_a_fault_names_its_line(change, line, word):
    found = faults((HEAD + POINTS).replace(*change))
    assert any(f"probe.yaml:{line} " in fault and word in fault for fault in found), found


def test_broken_yaml_names_its_line():
    assert faults("schema: 1\nmodel: [")[0].startswith("probe.yaml:2")


def test_a_control_is_checked_too():
    control = """controls:
  p_set_w: {unit: W, range: [5, -5], steps: [{fc: 6, addr: 1, type: int32, value: $y}], readback: {point: gone}}
"""
    found = "\n".join(faults(HEAD + POINTS + control))
    for word in ("holds nothing", "no point 'gone'", "no step writes $x", "$y", "writes one register"):
        assert word in found


def test_points_are_merged_but_a_value_is_never_parted_from_its_scale_factor():
    map_ = parse_map(HEAD + POINTS, "probe.yaml")
    assert [(block.group, block.addr, block.count) for block in map_.blocks] == [
        ("fast", 10, 5),
        ("fast", 20, 1),
        ("slow", 15, 1),
    ]
    block = map_.blocks[0]
    assert block.decode([struct.unpack(">H", struct.pack(">h", -25))[0], 0, 2, 0, 512]) == {
        "p_w": -2500,
        "p_sf": 2,
        "soc_pu": 0.512,
    }
    assert "p_w" not in block.decode([25, 0, 11, 0, 512])
    assert "soc_pu" not in block.decode([25, 0, 0, 0, 0xFFFF])
    assert "soc_pu" not in block.decode([25, 0, 0, 0, 1001])


ORDERS = st.sampled_from(["big", "little"])


@given(
    value=st.integers(-(2**63), 2**63 - 1), byte=ORDERS, word=ORDERS, name=st.sampled_from(["int16", "int32", "int64"])
)
def test_integers_survive_the_wire_or_are_refused(value, byte, word, name):
    kind = codec(name, byte, word)
    bits = 16 * kind.registers
    if -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
        registers = kind.encode(value)
        assert len(registers) == kind.registers
        assert kind.decode(registers) == value
    else:
        with pytest.raises(RegmapError):
            kind.encode(value)


@given(value=st.floats(width=32, allow_nan=False, allow_infinity=False), byte=ORDERS, word=ORDERS)
def test_floats_survive_the_wire_in_every_order(value, byte, word):
    kind = codec("float32", byte, word)
    assert kind.decode(kind.encode(value)) == value
    if byte == word == "big":
        assert struct.pack(">HH", *kind.encode(value)) == struct.pack(">f", value)
    if (byte, word) == ("big", "little"):
        assert struct.pack(">HH", *reversed(kind.encode(value))) == struct.pack(">f", value)


def test_text_and_bits_survive_the_wire():
    for byte in ("big", "little"):
        kind = codec("string(7)", byte, "little")
        assert kind.decode(kind.encode("solar")) == "solar"
    assert codec("bool").decode([7]) is True
    with pytest.raises(RegmapError, match="does not fit"):
        codec("string(2)").encode("solar")


def test_masked_bits_of_one_register_may_lie_together():
    text = HEAD + "points:\n  state: {fc: 3, addr: 1, type: bitfield16, group: fast, mask: 0xF0, shift: 4}\n"
    map_ = parse_map(text + "  mode: {fc: 3, addr: 1, type: bitfield16, group: fast, mask: 0x0F}\n", "probe.yaml")
    assert map_.blocks[0].decode([0x35]) == {"state": 3, "mode": 5}
    assert "overlaps" in faults(text + "  mode: {fc: 3, addr: 1, type: bitfield16, group: fast, mask: 0x1F}\n")[0]


NAMES = st.sampled_from(["a", "b", "c_w"])
FORMULAS = st.recursive(
    NAMES,
    lambda inner: st.builds("({0}{1}{2})".format, inner, st.sampled_from("+-*/"), inner) | inner.map("-{}".format),
)


@given(text=FORMULAS, a=st.integers(-99, 99), b=st.integers(-99, 99), c=st.integers(-99, 99))
def test_formulas_mean_what_python_would_make_of_them(text, a, b, c):
    names = {"a": a, "b": b, "c_w": c}
    try:
        # The generated text holds only these names and operators.
        expected = eval(text, {"__builtins__": {}}, names)
    except (ZeroDivisionError, OverflowError):
        expected = None
    found = parse(text)
    value = found.value(names)
    assert value == expected or (expected is not None and not math.isfinite(expected) and value is None)
    assert found.names <= set(names)


def test_precedence_and_missing_values():
    assert parse("a - b * c - d").value({"a": 10, "b": 2, "c": 3, "d": 1}) == 3
    assert parse("a + b").value({"a": 1}) is None
    assert parse("a / b").value({"a": 1, "b": 0}) is None


@pytest.mark.parametrize(
    "text", ["", "a +", "a b", "(a", "a)", "2 * a", "a ** b", "__import__('os')", "a.b", "a[0]", "+a"]
)
def test_anything_but_a_formula_is_refused(text):
    with pytest.raises(RegmapError):
        parse(text)


def test_the_grids_meter_mirrors_import_and_nothing_else():
    assert [sign_factor("import_positive", grid) for grid in (False, True)] == [-1, 1]
    assert [sign_factor("export_positive", grid) for grid in (False, True)] == [1, -1]
    assert [sign_factor("load_positive", grid) for grid in (False, True)] == [-1, -1]
    assert sign_factor("bus", True) == sign_factor("discharge_positive", False) == 1
