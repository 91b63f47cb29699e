"""`python -m benchmarks [name ...]`: all benchmarks, or those named."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from benchmarks import (
    auditing,
    day,
    days,
    devices_gateway,
    devices_mqtt,
    forecasts,
    ledger,
    modbus,
    settling,
    store,
    windows,
)
from benchmarks.machine import watched

BENCHMARKS: dict[str, tuple[Callable[[], None], str]] = {
    "modbus": (modbus.main, "a day of polls of homes.yaml beside bare pymodbus"),
    "store": (store.main, "500 meters at 1 Hz into store and recording beside bare sqlite3"),
    "ledger": (ledger.main, "1,000 metered and settled slots beside bare hashing and storing"),
    "gateway": (devices_gateway.main, "3,000 polled devices, 500 orders, decoding beside bare pymodbus and pysunspec2"),
    "mqtt": (devices_mqtt.main, "10,000 messages a second for a minute beside bare paho"),
    "settling": (settling.main, "a million settled entries, eight witnesses, a year's sums: against the goals"),
    "windows": (windows.main, "windows of the price game: time and gap, crowds, beside PIQP and the paper's method"),
    "forecasts": (forecasts.main, "98 measured days: errors of each forecast and what its intervals cover"),
    "audit": (auditing.main, "`ledger verify` of a whole day of homes.yaml, or of the run folder in BENCH_RUN"),
    "day": (day.main, "a lockstep day of homes.yaml: time, ticks, memory"),
    "days": (days.main, "ten measured days through the loop: costs beside rules and perfect foresight"),
}
"""Name -> (benchmark, what it measures); the quick ones first."""


def main() -> None:
    """Run what was asked for."""
    listed = "\n".join(f"  {name:<9} {about}" for name, (_, about) in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=listed, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], metavar="name")
    for name in parser.parse_args().names or BENCHMARKS:
        with watched(f"{name}: {BENCHMARKS[name][1]}"):
            BENCHMARKS[name][0]()


if __name__ == "__main__":
    main()
