"""How fast the store takes readings, how large they get, and what a reader sees meanwhile.

Run: python benchmarks/store.py [devices] [seconds of telemetry at 1 Hz]
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

from devices.readings import Quality, Reading
from twin.recording import ReadingFrame, Recording, RecordingWriter
from twin.store import Store, StoreReader
from twin.store.table import ReadingItem

START_US = 1_473_058_800_000_000


def made(devices: int, seconds: int) -> list[list[ReadingItem]]:
    """A second of readings of all devices per row, 11 values each."""
    return [
        [
            (
                Reading(
                    f"meter-{k:04d}",
                    START_US + s * 1_000_000,
                    s,
                    Quality.GOOD,
                    {
                        "p_w": float((k * 37 + s * 11) % 5000),
                        "q_var": float(s % 300),
                        "e_imp_wh": 100_000 + s,
                        "e_exp_wh": 50_000 + k,
                        "u1_v": round(229.0 + (s % 30) / 10, 1),
                        "u2_v": round(230.0 + (k % 30) / 10, 1),
                        "u3_v": 230.4,
                        "i1_a": round((s % 999) / 100, 2),
                        "i2_a": 4.51,
                        "i3_a": 4.49,
                        "f_hz": round(49.99 + (s % 20) / 1000, 3),
                    },
                ),
                "meter",
                s.to_bytes(8, "big") + k.to_bytes(8, "big"),
            )
            for k in range(devices)
        ]
        for s in range(seconds)
    ]


def watch(path: Path, stop: threading.Event, delays: list[float]) -> None:
    """Read the last values again and again while the writer works."""
    with StoreReader(path) as reader:
        while not stop.wait(0.05):
            began = time.perf_counter()
            reader.last()
            delays.append(time.perf_counter() - began)


def storing(batches: list[list[ReadingItem]], folder: Path) -> dict[str, float]:
    """Values a second to disk, bytes a value, delay of a reader."""
    values = sum(len(item[0].values) for batch in batches for item in batch)
    store = Store(folder / "telemetry.db", on_full="wait")
    store.start()
    stop, delays = threading.Event(), list[float]()
    watcher = threading.Thread(target=watch, args=(store.path, stop, delays))
    watcher.start()
    began, longest = time.perf_counter(), 0.0
    for batch in batches:
        put = time.perf_counter()
        store.write_readings(batch)
        longest = max(longest, time.perf_counter() - put)
    store.flush()
    took = time.perf_counter() - began
    stop.set()
    watcher.join()
    store.close()
    return {
        "values": values,
        "store_values_per_s": round(values / took),
        "store_bytes_per_value": round(store.path.stat().st_size / values, 1),
        "store_longest_put_ms": round(longest * 1e3, 2),
        "reader_last_ms_p50": round(sorted(delays)[len(delays) // 2] * 1e3, 2) if delays else -1,
    }


def recording(batches: list[list[ReadingItem]], folder: Path) -> dict[str, float]:
    """Values a second into and out of a recording."""
    values = sum(len(item[0].values) for batch in batches for item in batch)
    path = folder / "log.bin"
    writer = RecordingWriter(path, site="bench", on_full="wait")
    began = time.perf_counter()
    writer.start()
    for batch in batches:
        writer.write([ReadingFrame.of(item[0], item[1], item[0].ts_us) for item in batch])
    writer.close()
    wrote = time.perf_counter() - began
    began = time.perf_counter()
    read = sum(len(frame.values) for frame in Recording(path) if isinstance(frame, ReadingFrame))
    took = time.perf_counter() - began
    if read != values:
        raise SystemExit(f"recording: {values} values written, {read} read")
    return {
        "recording_write_values_per_s": round(values / wrote),
        "recording_read_values_per_s": round(values / took),
        "recording_bytes_per_value": round(path.stat().st_size / values, 1),
    }


def main() -> None:
    """Print one JSON object with the figures and the machine's load."""
    devices = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 180
    batches = made(devices, seconds)
    with tempfile.TemporaryDirectory() as folder:
        figures: dict[str, object] = {"devices": devices, "seconds": seconds}
        figures |= storing(batches, Path(folder))
        figures |= recording(batches, Path(folder))
    figures |= {"load_1min": round(os.getloadavg()[0], 2), "cores": os.cpu_count()}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
