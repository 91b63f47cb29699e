"""A device that falls silent is told once, and once when it speaks again."""

from collections.abc import Callable

from devices.readings import ProcessImage, Quality
from twin.silence import Silences

Image = Callable[..., ProcessImage]


def test_silence_and_return_are_told_once_each(image: Image, t0_us: int) -> None:
    silences = Silences(["bat-1", "meter-1"], t0_us, 180)

    def look(minute: int, bat_age_s: float) -> list[tuple[str, str, str]]:
        values = {"bat-1": {"p_w": 1}, "meter-1": {"p_w": 1}}
        return silences.look(image(t0_us + minute * 60_000_000, values, age_s={"bat-1": bat_age_s}))

    assert look(0, 0) == []
    assert look(3, 180) == []
    assert look(4, 240) == [("warning", "bat-1", "no reading for 240 s")]
    assert look(5, 300) == []
    assert look(20, 0) == [("info", "bat-1", "valid readings again after 20 min")]
    assert look(21, 0) == []


def test_a_bad_value_is_told_at_once_and_a_device_may_be_late_at_first(image: Image, t0_us: int) -> None:
    silences = Silences(["bat-1", "meter-1"], t0_us, 180)

    def look(minute: int) -> list[tuple[str, str, str]]:
        return silences.look(
            image(t0_us + minute * 60_000_000, {"meter-1": {"e_imp_wh": 5}}, quality={"meter-1": Quality.BAD})
        )

    assert look(0) == [("warning", "meter-1", "reads no valid power")]
    assert look(2) == []
    assert look(3) == [("warning", "bat-1", "has not answered yet")]
