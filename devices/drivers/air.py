"""Driver of a device that takes its orders over MQTT; its readings come through the gateway's ingest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from devices.description import DeviceSpec
from devices.drivers.driver import Driver, DriverError, ReadBack, Values, lease_seconds
from devices.modbus import BusyFault, ModbusLink, NoAnswer
from devices.orders import Ack, order_id

Send = Callable[[str, str, bytes, float], bool]
"""(device, control, payload, seconds of validity) -> False without a broker."""
_ENCODER = msgspec.json.Encoder()


class AirDriver(Driver):
    """One order at a time: sent, then waited for its acknowledgement. The link is not used."""

    def __init__(self, spec: DeviceSpec, send: Send, now_us: Callable[[], int], ack_s: float = 2.0) -> None:
        """`ack_s`: wall time until an order without acknowledgement counts as unanswered."""
        super().__init__(spec, 0)
        self._send, self._now_us, self._ack_s = send, now_us, ack_s
        self._number = 0
        self._waiting: tuple[str, asyncio.Future[Ack]] | None = None
        self._held: float | None = None

    async def open(self, link: ModbusLink) -> None:
        return

    async def read(self, link: ModbusLink, now_us: int) -> Values:
        return {}

    async def write_order(self, link: ModbusLink, value_w: int, lease_s: float) -> None:
        await self._order(value_w, lease_s)

    async def read_back(self, link: ModbusLink) -> ReadBack:
        return ReadBack(self._held, self._held is not None, None)

    async def release(self, link: ModbusLink) -> None:
        await self._order(None, 60.0)

    @property
    def tolerance_w(self) -> float:
        return 1.0

    def acknowledged(self, found: Ack) -> None:
        """A message of ack/<control> came; one of another's order is not ours."""
        if self._waiting is not None and self._waiting[0] == found.id and not self._waiting[1].done():
            self._waiting[1].set_result(found)

    async def _order(self, value_w: int | None, lease_s: float) -> None:
        if self.control is None:
            raise DriverError("takes no orders", where=self.spec.id)
        now_us, revert_s = self._now_us(), lease_seconds(lease_s)
        self._number += 1
        name = order_id(self.spec.id, self.control, value_w, now_us, self._number)
        order = {"v": 1, "id": name, "ts": now_us / 1e6, "exp": now_us / 1e6 + revert_s, self.control: value_w}
        payload = _ENCODER.encode(order | {"revert_s": revert_s})
        future = asyncio.get_running_loop().create_future()
        self._waiting = (name, future)
        if not self._send(self.spec.id, self.control, payload, revert_s):
            raise NoAnswer("no MQTT broker", where=self.spec.id)
        try:
            found = await asyncio.wait_for(future, self._ack_s)
        except TimeoutError as error:
            raise NoAnswer(f"no acknowledgement in {self._ack_s:g} s", where=self.spec.id) from error
        finally:
            self._waiting = None
        if found.state == "rejected":
            raise DriverError(f"refused: {found.reason}", where=self.spec.id)
        if found.state == "expired":
            raise BusyFault("the order came too late", where=self.spec.id, mend="compare the clocks")
        self._held = found.readback
