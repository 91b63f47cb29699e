"""Every check of the site file broken once, with the exact line it gives; and the shipped sites as they are."""

# ruff: noqa: E501 - exact messages stay on one line

from __future__ import annotations

import datetime as dt
import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.case import Party
from devices.emulator.behaviour import Behaviour
from devices.models import BatteryParameters, LoadParameters, MeterParameters, PvParameters, TurbineParameters
from devices.regmap import shipped_maps
from twin.site import Site, SiteError, load_site
from twin.site.device_rules import some
from twin.site.schema import StorageCost, TariffBlock, TurbineCost

EXAMPLES = Path(__file__).parents[3] / "examples"
HOMES = (EXAMPLES / "sites" / "homes.yaml").read_text(encoding="utf-8")

PV_1 = "{id: pv-1, kind: pv, party: home-1, link: roof-1, unit: 1, map: sunspec, "
METER_1 = "{id: meter-1, kind: meter, party: home-1, mqtt: true, "
METER_VPP = "  - {id: meter-vpp, kind: meter, party: vpp, mqtt: true} # the operator's own devices\n"
METER_GRID = "  - {id: meter-grid, kind: meter, party: grid, link: feeder, unit: 1, map: eastron-sdm630}\n"
BATTERY = "model: {e_wh: 6400, p_w: 5000, eta: 0.95, soc0_pu: 0.5}"
SERIES = (
    "the data set has: home-1/load, home-1/pv, home-2/load, home-2/pv, home-9/load, home-9/pv, home-10/load, "
    "home-10/pv, ... (18)"
)
PARTIES = "known: vpp, home-1, home-2, home-9, home-10, home-11, home-13, home-16, ... (10)"
MAPS = f"shipped: {some(['sunspec', 'sunspec-legacy', 'sunspec-float', *shipped_maps()])}"

Load = Callable[[str], Site]


@pytest.fixture(scope="module")
def two_months(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example data until the end of September, because every test here reads all of it."""
    folder = tmp_path_factory.mktemp("data") / "homes"
    shutil.copytree(EXAMPLES / "data" / "homes", folder)
    for path in folder.glob("*.csv.gz"):
        rows = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
        path.write_bytes(gzip.compress(b"".join(rows[: 1 + 61 * 24]), mtime=0))
    return folder


@pytest.fixture
def load(tmp_path: Path, two_months: Path) -> Load:
    """Loads a text as homes.yaml beside the example data."""
    (tmp_path / "data").symlink_to(two_months.parent)
    folder = tmp_path / "sites"
    folder.mkdir()

    def load_text(text: str) -> Site:
        path = folder / "homes.yaml"
        path.write_text(text, encoding="utf-8")
        return load_site(path)

    return load_text


def edited(*edits: tuple[str, str]) -> str:
    """homes.yaml with the first occurrence of each text replaced."""
    text = HOMES
    for old, new in edits:
        assert old in text, f"homes.yaml no longer says {old!r}; mend this test"
        text = text.replace(old, new, 1)
    return text


def line_of(text: str, part: str) -> int:
    """Line, from 1, on which a part first stands."""
    return text[: text.index(part)].count("\n") + 1


def lines_of(load: Load, text: str) -> list[str]:
    """The lines of the error that a text gives."""
    with pytest.raises(SiteError) as caught:
        load(text)
    return str(caught.value).splitlines()


# (old, new, where the problem stands, message without "homes.yaml:<line> ")
BREAKS: list[tuple[str, str, str, str]] = [
    ("schema: 1", "schema: 2", "schema: 2", "schema: 2 is newer than this vpptwin reads (1); install one that reads schema 2"),
    ("schema: 1\n", "\n", "site: {", "schema: missing; add `schema:` here"),
    ("schema: 1", 'schema: 1\n"schema": 1', '"schema"', "schema: given twice (first in line 4); keep one"),
    ("schema: 1", "schema: 1\nsites: 3", "sites: 3", "sites: unknown field; did you mean 'site'? allowed: assumptions, broker, control, data, devices, forecast, links, mechanism, network, parties, schema, site, tariff, time"),
    ("tick_s: 60", "tick_s: 60, tick: 60", "tick: 60", "time.tick: unknown field; did you mean 'tick_s'? allowed: gate, lease_s, physics_s, plan_delay_s, slot_s, tick_s"),
    ("tick_s: 60", "tick_s: sixty", "sixty", "time.tick_s: 'sixty' is text; a whole number from 1 to 3600 is wanted"),
    ("tick_s: 60", "tick_s: 0", "tick_s: 0", "time.tick_s: 0 is out of range; a whole number from 1 to 3600 is wanted"),
    ("tick_s: 60", "tick_s: 7", "tick_s: 7", "time.slot_s: 900 is no multiple of tick_s (7); a slot is a whole number of ticks"),
    ("slot_s: 900", "slot_s: 1080", "slot_s: 1080", "time.slot_s: 1080 does not divide an hour; allowed: 60, 300, 600, 900, 1800, 3600, ..."),
    ("lease_s: 180", "lease_s: 120", "lease_s", "time.tick_s: 60 is more than a third of lease_s (120); a lease outlives three ticks"),
    ("lease_s: 180", "lease_s: 180, physics_s: 45", "physics_s", "time.physics_s: 45 does not divide tick_s (60); a tick is whole steps of physics"),
    ("lease_s: 180", "lease_s: 180, plan_delay_s: 900", "plan_delay_s", "time.plan_delay_s: 900 is not below slot_s (900); a plan must take effect in its slot"),
    ('gate: "00:00"', "gate: 25:00", "gate", "time.gate: '25:00' does not fit; a time of day like \"07:30\" is wanted"),
    ("America/Los_Angeles", "America/Fontana", "site: {", "site.zone: 'America/Fontana' is no time zone; an IANA name like America/Los_Angeles or UTC is wanted"),
    ("currency: USD", "currency: dollars", "site: {", "site.currency: 'dollars' does not fit; three capital letters like USD is wanted"),
    ("currency: USD", "currency: EUR", "import:", "tariff.import: 'price' is in USD/kWh, the site's currency is EUR; settle in the currency of the prices"),
    ("start: 2016-09-05", "start: 2016-09-35", "site: {", "site.start: '2016-09-35' is no date; a date like 2016-09-05, or a time like 2016-09-05T06:00, is wanted"),
    ("start: 2016-09-05", "start: 2016-08-01", "site: {", "site.start: 2016-08-01 00:00 leaves no day of past: the data begin 2016-08-01 00:00; from 2016-08-02 00:00 (better 28 days after the beginning), before 2016-10-01 00:00"),
    ("start: 2016-09-05", "start: 2016-10-01", "site: {", "site.start: 2016-10-01 00:00 is outside the data, 2016-08-01 00:00 to 2016-10-01 00:00; from 2016-08-02 00:00 (better 28 days after the beginning), before 2016-10-01 00:00"),
    ("name: twostage", "name: twostages", "mechanism:", "mechanism.name: no mechanism 'twostages'; did you mean 'twostage'? installed: twostage"),
    ("gap: 0.01", "gap: 0", "gap: 0", "mechanism.budget.gap: 0 is out of range; a number above 0 up to 1 is wanted"),
    ("rounds: 3", "rounds: 2.5", "rounds", "mechanism.budget.rounds: '2.5' is a number; a whole number from 0 to 10000 is wanted"),
    ("mode: full", "mode: fulll", "fulll", "control.mode: 'fulll' is not known; did you mean 'full'? allowed: monitor, shadow, limited, full"),
    ("enabled: true", "enabled: yess", "yess", "control.enabled: 'yess' is text; true or false is wanted"),
    ("netting: party", "netting: home", "netting", "control.netting: 'home' is not known; allowed: party, site"),
    ("data:price", "data:prise", "data:prise", f"tariff.import: no series 'prise'; did you mean 'price'? {SERIES}"),
    ("data:price", "data:carbon", "data:carbon", "tariff.import: 'carbon' is a series of carbon; price is wanted: price"),
    ("data:price", '[{from: "08:00", to: "24:00", per_kwh: 0.3}]', "08:00", "tariff.import: no price for 00:00 on workdays of month 1; blocks must cover every hour of every day"),
    ("data:price", '[{from: "08:00", to: "24:30", per_kwh: 0.3}]', "24:30", "tariff.import[0].to: '24:30' does not fit; a time of day like \"16:00\", at most \"24:00\", is wanted"),
    ("export_per_kwh: 0.08", "export_per_kwh: cheap", "cheap", "tariff.export_per_kwh: 'cheap' is text; a price per kWh, `data:<series>` or a list of time-of-use blocks is wanted"),
    ("data: {path: ../data/homes}\n", "", "import:", "tariff.import: names a series, but the site has no data; add `data: {path: ...}`"),
    ("broker: {port: 18830}", "broker: {port: 70000}", "70000", "broker.port: 70000 is out of range; a whole number from 0 to 65535 is wanted"),
    ("broker: {port: 18830}", "broker: {password: x}", "password: x", "broker.password: unknown field; allowed: embedded, home_assistant, host, port, tls_ca, username"),
    ("broker: {port: 18830}", "network: {import_max_w: -1}", "import_max_w", "network.import_max_w: -1 is out of range; a number of at least 0 is wanted"),
    ("broker: {port: 18830}", 'network: {times: [{from: "17:00", to: "20:00", per_kwh: 1}]}', "20:00", "network.times[0].per_kwh: unknown field; allowed: days, export_max_w, from, import_max_w, months, to"),
    ("vpp, role: operator", "vpp, role: prosumer", "{id: vpp", "parties: no party of role operator; exactly one is needed: the one who runs the site"),
    ("home-1, role: prosumer", "home-1, role: operator", "{id: home-1,", "parties[1].role: operator is already vpp (line 19); exactly one party is operator"),
    ("home-1, role: prosumer", "home-1, role: owner", "{id: home-1,", "parties[1].role: 'owner' is not known; allowed: prosumer, operator, grid"),
    ("  - {id: grid, role: grid}", "  - {id: grid, role: grid}\n  - {id: vpp, role: prosumer}", "{id: vpp, role: prosumer}", "parties[10].id: 'vpp' is used twice (first in line 19); parties need own ids"),
    ("port: 15020", "port: 15021", "{id: roof-2,", "links[1].port: 15021 on 127.0.0.1 is already used by roof-1 (line 30); links need addresses of their own; 0 = any free port"),
    ("roof-1, kind: modbus-tcp", "roof-1, kind: modbus-udp", "modbus-udp", "links[0].kind: 'modbus-udp' is not known; did you mean 'modbus-tcp'? allowed: modbus-tcp, modbus-rtu, modbus-rtu-tcp"),
    ("roof-1, kind: modbus-tcp, host: 127.0.0.1, port: 15020", "roof-1, kind: modbus-rtu", "roof-1, kind", "links[0].serial: missing; a modbus-rtu link needs the path of its serial port, such as /dev/ttyUSB0"),
    ("roof-1, kind: modbus-tcp, host: 127.0.0.1, port: 15020", "roof-1, kind: modbus-tcp, baud: 9600", "baud", "links[0].baud: a modbus-tcp link has none; remove `baud` or choose another kind"),
    ("roof-1, kind: modbus-tcp, host: 127.0.0.1, port: 15020", "roof-1, kind: modbus-rtu, serial: /dev/ttyUSB0, parity: X", "parity", "links[0].parity: 'X' is not known; allowed: N, E, O"),
    ("kind: turbine", "kind: turbin", "turbin\n", "devices[25].kind: 'turbin' is not known; did you mean 'turbine'? allowed: meter, pv, storage, turbine, load"),
    (PV_1, PV_1.replace("pv-1", "meter-1"), "id: meter-1, kind: pv", "devices[1].id: 'meter-1' is used twice (first in line 42); devices need own ids"),
    (PV_1, PV_1.replace("pv-1", "1pv"), "1pv", "devices[1].id: '1pv' is no name; a letter, then letters, digits, `-`, `_` or `.`, at most 63"),
    (PV_1, PV_1.replace("home-1", "home-3"), "home-3", f"devices[1].party: no party 'home-3'; did you mean 'home-13'? {PARTIES}"),
    (PV_1, PV_1.replace("roof-1", "roof-3"), "roof-3", "devices[1].link: no link 'roof-3'; did you mean 'roof-13'? known: roof-1, roof-2, roof-9, roof-10, roof-11, roof-13, roof-16, roof-17, ... (11)"),
    ("roof-1\n    unit: 2", "roof-1\n    unit: 1", "unit: 1\n", "devices[2].unit: 1 is already used on link roof-1 by pv-1 (line 43); units on one link must differ"),
    (PV_1, PV_1.replace("unit: 1", "unit: 248"), "248", "devices[1].unit: 248 is out of range; a whole number from 1 to 247 is wanted"),
    (PV_1, PV_1.replace("unit: 1, ", ""), "{id: pv-1", "devices[1].unit: missing; a Modbus device needs link, unit and map; an MQTT device `mqtt: true`"),
    (METER_1, METER_1 + "unit: 3, ", "{id: meter-1", "devices[0].unit: an MQTT device has none; remove `unit` or `mqtt: true`"),
    (METER_1, METER_1.replace("true", "false"), "{id: meter-1", "devices[0].mqtt: false, and no link either; give link, unit and map, or `mqtt: true`"),
    (PV_1, PV_1.replace("sunspec", "sunspecs"), "sunspecs", f"devices[1].map: no register map 'sunspecs'; did you mean 'sunspec'? {MAPS}"),
    (PV_1, PV_1.replace("sunspec", "maps/own.yaml"), "own.yaml", "devices[1].map: no file maps/own.yaml; paths count from the site file"),
    ("map: generic-microturbine", "map: eastron-sdm630", "map: eastron-sdm630\n", "devices[25].map: eastron-sdm630 describes a meter, this device is a turbine; choose its own map"),
    ("peak_w: 4000", "peak_w: -4000", "-4000", "devices[1].model.peak_w: -4000 is out of range; a number from 1 to 1e+09 is wanted"),
    ("peak_w: 4000, ", "", "{id: pv-1", "devices[1].model.peak_w: missing; add `peak_w:` here"),
    ("peak_w: 4000", "peak_w: 4000, tilt: 3", "tilt", "devices[1].model.tilt: unknown field; allowed: peak_w, series"),
    ("series: home-1/pv", "series: home-3/pv", "home-3/pv", f"devices[1].model.series: no series 'home-3/pv'; did you mean 'home-13/pv'? {SERIES}"),
    ("series: home-1/pv", "series: home-1/load", "pv-1", "devices[1].model.series: 'home-1/load' is a series of load; pv is wanted: home-1/pv, home-2/pv, home-9/pv, home-10/pv, home-11/pv, home-13/pv, home-16/pv, home-17/pv"),
    ("soc0_pu: 0.5", "soc0_pu: 0.05, soc_min_pu: 0.1", "soc_min_pu", "devices[2].model.soc0_pu: 0.05 is outside soc_min_pu..soc_max_pu; from 0.1 to 1"),
    ("soc0_pu: 0.5", "soc0_pu: 0.6, soc_min_pu: 0.6, soc_max_pu: 0.6", "soc_min_pu", "devices[2].model.soc_min_pu: 0.6 is not below soc_max_pu (0.6); leave room between them"),
    ("p_min_w: 2000", "p_min_w: 20000", "p_min_w", "devices[25].model.p_min_w: 20000 is not below p_max_w (10000); leave room between them"),
    ("p_w: 5000, ", "p_charge_w: 5000, ", "p_charge_w", "devices[2].model.p_w: missing; give p_w, or p_charge_w and p_discharge_w"),
    ("eta: 0.95", "eta: 95", "eta: 95", "devices[2].model.eta: 95 is out of range; a number from 0.05 to 1 is wanted"),
    (BATTERY, "accept_unsafe: false", "id: bat-1", "devices[2].model: missing; a storage needs a model: e_wh, p_w, p_charge_w, p_discharge_w, eta, soc0_pu, soc_min_pu, soc_max_pu, ramp_w_s, standby_w"),
    ("failsafe: device", "failsafe: none", "failsafe: none", "devices[1].failsafe: none leaves the last setpoint in force when control is lost; use device or watchdog, or say `accept_unsafe: true`"),
    (", failsafe: device", "", "{id: pv-1", "devices[1].failsafe: missing; say what makes it safe when control is lost: device or watchdog"),
    ("cost: {beta_per_kwh: 0.35}", "cost: {}", "cost: {}", "devices[24].cost.beta_per_kwh: missing; add `beta_per_kwh:` here"),
    (METER_1, METER_1 + "cost: {wear: 1}, ", "{wear: 1}", "devices[0].cost: a meter has no cost; remove `cost`; it belongs to storage, turbine, load"),
    (METER_1, METER_1 + "behaviour: {latency: 3}, ", "latency", f"devices[0].behaviour.latency: unknown field; did you mean 'latency_ms'? allowed: {', '.join(sorted(Behaviour.__dataclass_fields__))}"),
    (METER_1, METER_1 + "behaviour: {dies_at_s: 9, back_at_s: 9}, ", "back_at_s", "devices[0].behaviour.back_at_s: 9 is not after dies_at_s (9); it returns after it left"),
    (METER_VPP, "", "{id: vpp,", "parties[0].id: vpp has no settlement meter; add one device of kind meter with this party"),
    (METER_GRID, "", "{id: grid,", "parties[9].id: grid has no grid meter; add one device of kind meter with this party"),
    (METER_GRID, METER_GRID + METER_VPP.replace("meter-vpp", "meter-two"), "{id: meter-two", "devices[28].party: vpp already has meter-vpp (line 148); a party has exactly one settlement meter"),
    ("    party: vpp\n", "    party: grid\n", "party: grid\n", "devices[25].party: a turbine cannot belong to the grid; give it to a prosumer or the operator"),
    ("id: homes,", "id: [homes],", "[homes]", "site.id: this is a list; text is wanted (use quotes where YAML reads a number or date)"),
    ("parties:\n", "parties:\n  - vpp\n", "- vpp", "parties[0]: 'vpp' is text; a mapping (name: value) is wanted"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "marker", "message"), BREAKS, ids=[row[3].split(";")[0][:60] for row in BREAKS])
def test_a_broken_site_says_what_where_and_how_to_mend(
    load: Load, old: str, new: str, marker: str, message: str
) -> None:
    text = edited((old, new))
    assert lines_of(load, text) == [f"homes.yaml:{line_of(text, marker)} {message}"]


def test_all_errors_come_at_once_in_the_order_of_the_file(load: Load) -> None:
    text = edited(("tick_s: 60", "tick: 60"), ("role: operator", "role: boss"), ("eta: 0.95", "eta: 95"))
    found = lines_of(load, text)
    assert [line.split(": ")[0].split(" ")[1] for line in found] == [
        "time.tick",
        "parties",
        "parties[0].role",
        "devices[2].model.eta",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "homes.yaml: the file is empty; start from examples/sites/homes.yaml"),
        ("# words\n", "homes.yaml: the file is empty; start from examples/sites/homes.yaml"),
        ("a: [1\nb: 2\n", "homes.yaml:2: not YAML: expected ',' or ']', but got ':'; mind indentation, colons and quotes"),
        ("a:\n\tb: 2\n", "homes.yaml:2: not YAML: found character '\\t' that cannot start any token; mind indentation, colons and quotes"),
        ("a: \0\n", "homes.yaml: not YAML: unacceptable character #x0000: special characters are not allowed; save it as UTF-8 text"),
        ("- a\n", "homes.yaml:1: this is a list; a mapping (name: value) is wanted"),
        ("a: *b\n", "homes.yaml:1: not YAML: found undefined alias 'b'; mind indentation, colons and quotes"),
    ],
)  # fmt: skip
def test_what_is_no_site_at_all_is_said_plainly(load: Load, text: str, message: str) -> None:
    assert lines_of(load, text) == [message]


def test_a_missing_site_file_is_said_plainly(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    with pytest.raises(SiteError) as caught:
        load_site(path)
    assert str(caught.value) == (
        f"none.yaml: no such file ({path}); name a site file; examples/sites/homes.yaml is one"
    )


def test_data_that_cannot_be_read_are_named_at_data_path(load: Load, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(EXAMPLES / "data" / "homes", broken)
    whole = (broken / "home-2.csv.gz").read_bytes()
    (broken / "home-2.csv.gz").write_bytes(whole[: len(whole) // 2])
    text = edited(("path: ../data/homes", "path: ../broken"))
    (line,) = lines_of(load, text)
    assert line.startswith(f"homes.yaml:{line_of(text, '../broken')} data.path: home-2.csv.gz:")
    assert "truncated or damaged here" in line
    (broken / "home-9.csv.gz").unlink()
    (line,) = lines_of(load, text)
    assert "dataset.yaml:23 files[2].file: no file home-9.csv.gz; put it beside dataset.yaml or mend the name" in line


def test_a_missing_data_folder_is_named(load: Load) -> None:
    (line,) = lines_of(load, edited(("path: ../data/homes", "path: ../nowhere")))
    assert "data.path: dataset.yaml: No such file or directory (" in line


def test_homes_is_the_site_of_the_examples() -> None:
    site = load_site(EXAMPLES / "sites" / "homes.yaml")
    assert (site.id, site.zone, site.currency, site.start) == (
        "homes",
        "America/Los_Angeles",
        "USD",
        dt.date(2016, 9, 5),
    )
    assert (site.operator, site.grid) == (Party("vpp", "operator"), Party("grid", "grid"))
    kinds = [device.kind for device in site.devices]
    assert {kind: kinds.count(kind) for kind in kinds} == {"meter": 10, "pv": 8, "storage": 8, "load": 1, "turbine": 1}
    assert [device.id for device in site.devices if device.is_grid] == ["meter-grid"]
    assert site.meter_of("home-13").model == {"series": "home-13/load", "share": 0.7}
    assert site.cost_of("bat-1") == StorageCost(0.01, 0.01)
    assert isinstance(site.cost_of("turbine"), TurbineCost)
    assert "Export price: constant 0.08 USD/kWh, set in the site file, not measured." in site.assumptions
    assert any("Turbine fuel" in sentence for sentence in site.assumptions)


def test_every_device_of_the_examples_can_be_emulated() -> None:
    parsers = {
        "meter": MeterParameters.of,
        "pv": PvParameters.of,
        "storage": BatteryParameters.of,
        "turbine": TurbineParameters.of,
        "load": LoadParameters.of,
    }
    for name in ("homes", "two-homes"):
        for device in load_site(EXAMPLES / "sites" / f"{name}.yaml").devices:
            assert parsers[device.kind](device)
            assert Behaviour.of(device)


def test_every_field_the_check_allows_is_known_to_the_emulator(load: Load) -> None:
    everything = edited(
        ("series: home-1/load}", "series: home-1/load, share: 1, phases: 3, u_nom_v: 240, f_nom_hz: 60, line_ohm: 0.2}"),
        (BATTERY, BATTERY.replace("p_w: 5000", "p_charge_w: 1, p_discharge_w: 2, soc_min_pu: 0.1, soc_max_pu: 0.9, ramp_w_s: 9, standby_w: 1")),
        ("failsafe: device}", "failsafe: device, behaviour: {never_answers: true, dies_at_s: 1, back_at_s: 2, latency_ms: 1, ramp_w_s: 5, dead_band_w: 1, single_connection: true, night_sleep: true, scale_change_s: 5, ignores_writes: true, revert_factor: 1.3, no_revert: true, heartbeat_s: 5, writes_max: 9, clock_drift_ppm: 3}}"),
    )  # fmt: skip
    site = load(everything)
    assert MeterParameters.of(site.device("meter-1")).phases == 3
    assert BatteryParameters.of(site.device("bat-1")).standby_w == 1
    assert Behaviour.of(site.device("pv-1")).never_answers


def test_merge_keys_serve_repeated_devices(load: Load) -> None:
    text = edited(
        ("broker: {port: 18830}      # ", "control: &same {enabled: false, mode: shadow}\nbroker: {} # "),
        ("control: {enabled: true, mode: full, netting: party}", "network: {}"),
    )
    text = text.replace("control: &same", "x: &same", 1)
    assert any("x: unknown field" in line for line in lines_of(load, text))
    merged = edited(("cost: {wear_charge", "cost: &wear {wear_charge"), ("cost: {wear_charge_per_kwh: 0.01, wear_discharge_per_kwh: 0.01}", "cost: {<<: *wear, wear_discharge_per_kwh: 0.02}"))  # fmt: skip
    assert load(merged).cost_of("bat-2") == StorageCost(0.01, 0.02)


def test_defaults_of_what_a_site_leaves_out(load: Load) -> None:
    text = edited(
        ('time: {tick_s: 60, slot_s: 900, lease_s: 180, gate: "00:00"}', "time: {tick_s: 30}"),
        ("mechanism: {name: twostage, budget: {gap: 0.01, rounds: 3}}\n", ""),
        ("start: 2016-09-05", "start: 2016-09-05T06:00"),
    )
    site = load(text)
    assert (site.time.lease_s, site.time.physics_s, site.time.slot_s, site.mechanism.name) == (90, 30, 900, "twostage")
    assert site.start == dt.datetime(2016, 9, 5, 6)
    assert site.network.import_max_w == float("inf")


def test_time_of_use_blocks_become_values(load: Load) -> None:
    blocks = '[{from: "16:00", to: "21:00", days: workdays, months: [6, 7], per_kwh: 0.5}, {from: "21:00", to: "21:00", per_kwh: 0.2}]'  # fmt: skip
    site = load(edited(("import: data:price", f"import: {blocks}")))
    assert site.tariff.import_ == (
        TariffBlock(960, 1260, 0.5, "workdays", (6, 7)),
        TariffBlock(1260, 1260, 0.2),
    )
    assert "Import price: time of use, 0.2 to 0.5 USD/kWh, set in the site file, not measured." in site.assumptions


def test_unsafe_devices_need_an_explicit_word(load: Load) -> None:
    site = load(edited(("failsafe: device", "failsafe: none, accept_unsafe: true")))
    assert site.device("pv-1").failsafe == "none"


OWN_MAP = """schema: 1
model: own
kind: pv
groups: {fast: 1.0}
points:
  p_w: {fc: 3, addr: 10, type: int16, unit: W, group: fast}
  p_max_w: {fc: 3, addr: 11, type: uint16, unit: W, group: fast}
"""


def test_own_maps_are_found_from_the_site_file(load: Load, tmp_path: Path) -> None:
    own = tmp_path / "sites" / "own.yaml"
    own.write_text(OWN_MAP, encoding="utf-8")
    site = load(edited((PV_1, PV_1.replace("sunspec", "own.yaml"))))
    assert site.device("pv-1").map == str(own)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("addr: 11", "addr: 10", "own.yaml:7 points.p_max_w.addr: overlaps p_w (line 6)"),
        ("type: uint16", "typ: uint16", "own.yaml:7 points.p_max_w: "),
        ("group: fast}", "group: fast", "own.yaml:"),
        ("kind: pv", "kind: storage", "own.yaml describes a storage, this device is a pv"),
        ("schema: 1", "schema: \xe9", "own.yaml is no text"),
    ],
)
def test_a_slip_in_an_own_map_is_named_with_its_line(
    load: Load, tmp_path: Path, old: str, new: str, expected: str
) -> None:
    own = tmp_path / "sites" / "own.yaml"
    own.write_text(OWN_MAP.replace(old, new), encoding="latin-1")
    text = edited((PV_1, PV_1.replace("sunspec", "own.yaml")))
    (line, *_) = lines_of(load, text)
    assert line.startswith("homes.yaml:")
    assert "devices[1].map: " in line
    assert expected in line.replace(f"{own}: is", "own.yaml is")
    load_site(own.parent / "homes.yaml", check_files=False)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (METER_1, METER_1.replace("true", "true, adapter: own.yaml"), "devices[0].adapter: "),
        (PV_1, PV_1 + "behaviour: {profile: own.yaml}, ", "devices[1].behaviour.profile: "),
        ("broker: {", "broker: {tls_ca: own.yaml, ", "broker.tls_ca: "),
    ],
)
def test_other_files_that_a_site_names_are_opened_too(
    load: Load, tmp_path: Path, old: str, new: str, expected: str
) -> None:
    text = edited((old, new))
    (line,) = lines_of(load, text)
    assert f"{expected}no file own.yaml; paths count from the site file" in line
    (tmp_path / "sites" / "own.yaml").write_bytes(b"\xff nothing of the kind")
    (line,) = lines_of(load, text)
    assert expected in line
    assert "own.yaml" in line


def test_a_zone_whose_midnight_is_inside_a_slot_is_refused(load: Load) -> None:
    text = edited(("America/Los_Angeles", "Asia/Kathmandu"), ("slot_s: 900", "slot_s: 1800"))
    (line,) = lines_of(load, text)
    assert line.endswith(
        "time.slot_s: midnight in Asia/Kathmandu is not on the edge of a slot of 1800 s;"
        " choose slots that divide the zone's offset from UTC"
    )
