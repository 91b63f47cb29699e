"""A recording gives back what was written, also when it was cut, and says where it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.readings import Quality, Reading
from twin.recording import VERSION, CommandFrame, Frame, ReadingFrame, Recording, RecordingError, RecordingWriter

T0 = 1_473_058_800_000_000

FRAMES = st.lists(
    st.one_of(
        st.builds(
            ReadingFrame,
            t_recv_us=st.integers(0, 2**62),
            kind=st.sampled_from(["meter", "pv"]),
            device=st.text(max_size=8),
            ts_us=st.integers(0, 2**62),
            seq=st.integers(0, 2**40),
            quality=st.sampled_from([int(quality) for quality in Quality]),
            values=st.dictionaries(
                st.sampled_from(["p_w", "soc_pu", "e_imp_wh"]), st.floats(allow_nan=False) | st.integers(0, 2**60)
            ),
        ),
        st.builds(
            CommandFrame,
            t_recv_us=st.integers(0, 2**62),
            device=st.text(max_size=8),
            ts_us=st.integers(0, 2**62),
            control=st.just("p_set_w"),
            value=st.none() | st.floats(allow_nan=False),
            state=st.sampled_from(["queued", "verified"]),
            readback=st.none() | st.floats(allow_nan=False),
        ),
    ),
    max_size=20,
)


def record(path: Path, frames: list[Frame]) -> Path:
    writer = RecordingWriter(path, site="homes", interval_s=0.0)
    writer.start()
    writer.write(frames)
    writer.close()
    return path


def some(count: int, recv_us: int = 0) -> list[Frame]:
    return [
        ReadingFrame.of(
            Reading("meter-1", T0 + k * 1_000_000, k, Quality.GOOD, {"p_w": float(k)}), "meter", T0 + k + recv_us
        )
        for k in range(count)
    ]


@given(FRAMES)
@settings(max_examples=30, deadline=None)
def test_frames_come_back_as_written(tmp_path_factory: pytest.TempPathFactory, frames: list[Frame]) -> None:
    recording = Recording(record(tmp_path_factory.mktemp("r") / "recording" / "log.bin", frames))
    assert list(recording) == frames
    assert (recording.end.complete, recording.end.frames, recording.header.site) == (True, len(frames), "homes")


def test_a_log_cut_at_any_byte_is_read_up_to_its_last_whole_frame(tmp_path: Path) -> None:
    path = record(tmp_path / "log.bin", some(6))
    whole, frames = path.read_bytes(), some(6)
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        try:
            recording = Recording(path)
        except RecordingError:
            assert cut < 60
            continue
        found = list(recording)
        assert found == frames[: len(found)]
        assert not recording.end.complete
        assert recording.end.offset <= cut
        assert recording.end.last_ts_us == (frames[len(found) - 1].ts_us if found else None)
    assert len(found) == 6


def test_a_changed_byte_ends_the_log_there_and_says_so(tmp_path: Path) -> None:
    path = record(tmp_path / "log.bin", some(10))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    recording = Recording(path)
    found = list(recording)
    assert 0 < len(found) < 10
    assert recording.end.why.startswith(f"cut or damaged after {len(found)} frames: ")


def test_a_killed_writer_leaves_a_log_that_can_be_continued(tmp_path: Path) -> None:
    path = tmp_path / "log.bin"
    child = (
        "import os, sys; sys.path[:0] = []\n"
        "from pathlib import Path\n"
        "from twin.recording import CommandFrame, RecordingWriter\n"
        "writer = RecordingWriter(Path(sys.argv[1]), site='homes')\n"
        "writer.start()\n"
        "writer.write([CommandFrame(k, 'bat-1', k, 'p_set_w', 1.0, 'sent') for k in range(1000)])\n"
        "writer.flush()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", child, str(path)], check=False).returncode == -9
    recording = Recording(path)
    assert [frame.ts_us for frame in recording] == list(range(1000))
    assert recording.end.why == "ends after 1000 frames without its end mark: the writer was killed"
    with path.open("ab") as file:
        file.write(b"torn")
    record(path, some(3))
    continued = Recording(path)
    assert list(continued)[1000:] == some(3)
    assert continued.end.complete


def test_receive_times_do_not_enter_the_digest(tmp_path: Path) -> None:
    one = Recording(record(tmp_path / "a.bin", some(20)))
    two = Recording(record(tmp_path / "b.bin", some(20, recv_us=777)))
    other = Recording(record(tmp_path / "c.bin", some(19)))
    assert one.digest() == two.digest() != other.digest()


def test_a_newer_or_foreign_file_is_refused_with_the_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.bin"
    with pytest.raises(RecordingError, match=r"log\.bin: cannot be read"):
        Recording(path)
    path.write_bytes(b"something else, longer than a header of ours")
    with pytest.raises(RecordingError, match="is not a recording"):
        Recording(path)
    with pytest.raises(RecordingError, match="is not a recording"):
        RecordingWriter(path, site="homes").start()
    path.unlink()
    monkeypatch.setattr("twin.recording.VERSION", VERSION + 1)
    record(path, some(1))
    monkeypatch.undo()
    with pytest.raises(RecordingError, match=f"use a vpptwin that knows recording format {VERSION + 1}"):
        Recording(path)


def test_a_reading_survives_the_frame(tmp_path: Path) -> None:
    reading = Reading("bat-1", T0, 7, Quality.STALE, {"p_w": -5.0, "e_imp_wh": 12})
    frame = next(iter(Recording(record(tmp_path / "log.bin", [ReadingFrame.of(reading, "storage", T0 + 3)]))))
    assert isinstance(frame, ReadingFrame)
    assert (frame.reading, frame.kind, frame.t_recv_us) == (reading, "storage", T0 + 3)
    assert isinstance(frame.reading.values["e_imp_wh"], int)
