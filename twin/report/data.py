"""report_data.json: what the run loop knows and telemetry.db does not. One array entry per slot; null is a gap."""

from __future__ import annotations

from pathlib import Path

import msgspec

from twin.errors import TwinError

SCHEMA = 1
FILE = "report_data.json"
Row = list[float | None]


class DeviceRow(msgspec.Struct, kw_only=True):
    """One device of the site."""

    id: str
    kind: str
    party: str
    is_grid: bool = False
    planned_w: Row | None = None
    """Planned mean power per slot, bus sign, W. None: taken from the plans in telemetry.db."""
    metered_w: Row | None = None
    """Metered mean power per slot, bus sign, W. None: taken from the readings in telemetry.db."""


class PartyRow(msgspec.Struct, kw_only=True):
    """One party and what was settled with it."""

    id: str
    role: str
    """prosumer, operator or grid."""
    energy_wh: Row = []
    """Settled net energy, given to the bus positive."""
    payment_micro: list[int | None] = []
    """Received (+) or paid (-), micro-currency; all parties sum to zero in every slot."""
    alone_micro: list[int | None] | None = None
    """What the same energy would have brought or cost at the site's tariff, without the market inside the site."""
    buy_per_kwh: Row | None = None
    """Price for energy taken. None: taken from the plans in telemetry.db."""
    sell_per_kwh: Row | None = None
    """Price for energy given. None: taken from the plans in telemetry.db."""


class CaseCost(msgspec.Struct, kw_only=True):
    """Cost of the whole site under one way of operating it; an earning is negative. total = sum of the parts."""

    name: str
    """actual, no_control, selfuse, tou_night or perfect_foresight."""
    total: float
    parts: dict[str, float] = {}
    """import, export, fuel, wear, comfort, end_soc -> currency; empty where only the total is known (a bound)."""
    grid_w: Row | None = None
    """Mean power at the grid meter per slot, import positive, W."""


class ReportData(msgspec.Struct, kw_only=True):
    """Everything may be left out: the report then says what is missing."""

    schema: int = SCHEMA
    site: str = ""
    zone: str = "UTC"
    currency: str = ""
    slot_s: int = 900
    start_us: list[int] = []
    """Start of each slot, µs UTC, consecutive."""
    import_per_kwh: Row = []
    """Tariff for energy from the grid."""
    export_per_kwh: Row = []
    """Feed-in price."""
    devices: list[DeviceRow] = []
    parties: list[PartyRow] = []
    costs: list[CaseCost] = []
    assumptions: list[str] = []
    """Sentences: what the site file assumes because no measurement says it (twin/site/assumptions.py)."""
    notes: list[str] = []
    """Sentences: source and licence of the data, the model of the shape inside the hour, which keys sign, ..."""


def write(data: ReportData, run_dir: Path) -> Path:
    """Put report_data.json into the run folder; NaN becomes null."""
    path = run_dir / FILE
    path.write_bytes(msgspec.json.encode(data) + b"\n")
    return path


def read(run_dir: Path) -> ReportData:
    """The file of a run folder. Raises TwinError when it is missing, damaged or newer than this version."""
    path = run_dir / FILE
    try:
        data = msgspec.json.decode(path.read_bytes(), type=ReportData)
    except OSError as error:
        raise TwinError(f"not there: {error.strerror}", where=FILE, mend="the run ended before writing it") from error
    except msgspec.DecodeError as error:
        raise TwinError(f"damaged: {error}", where=FILE, mend="repeat the run with `vpptwin rerun`") from error
    if data.schema > SCHEMA:
        raise TwinError(
            f"has schema {data.schema}, this version reads {SCHEMA}", where=FILE, mend="use a newer vpptwin"
        )
    return data
