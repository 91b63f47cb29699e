"""An MQTT broker for the length of a run: mosquitto if the machine has it, else the embedded amqtt.

    async with Broker() as spec:        # BrokerSpec with the port really bound
        ...

The broker is a grandchild process behind a guard (`python -m devices.broker ...`) that ends it when this process ends,
however it ends: the guard sees its standard input close. It runs in a session of its own, so that Ctrl-C in a terminal
first lets the service release its setpoints. Loopback only; names and passwords belong to a broker of one's own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from devices.description import BrokerSpec
from devices.errors import DeviceError

log = logging.getLogger(__name__)

Kind = Literal["auto", "mosquitto", "embedded"]
_HOST = "127.0.0.1"
_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 10.0
"""Before a broker that ended by itself is started again; doubled while that fails."""
_SEARCH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"))

# Queues without limit: a QoS 1 meter message must not be dropped because a subscriber is busy planning.
_MOSQUITTO = """\
listener {port} {host}
allow_anonymous true
persistence false
log_dest stderr
log_type error
log_type warning
set_tcp_nodelay true
max_inflight_messages 0
max_queued_messages 0
max_packet_size 65536
"""


class BrokerError(DeviceError):
    """The broker cannot be started or does not answer."""


def mosquitto_path() -> str | None:
    """The mosquitto binary, also where Debian keeps it outside a user's PATH; None if there is none."""
    return shutil.which("mosquitto", path=_SEARCH)


class Broker:
    """Async context manager; `start()` and `stop()` by hand make a broker that goes away for a while, same port.

    A broker that ends by itself is started again on its port, where its clients find it.
    """

    def __init__(self, kind: Kind = "auto", port: int = 0, *, ready_s: float = 10.0) -> None:
        """`port` 0 = chosen by the operating system at the first start. Raises BrokerError if kind is not there."""
        self.spec = BrokerSpec(host=_HOST, port=port)
        self._ready_s = ready_s
        self._guard: asyncio.subprocess.Process | None = None
        self._listener: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._said: deque[str] = deque(maxlen=20)
        found = None if kind == "embedded" else mosquitto_path()
        if kind == "mosquitto" and found is None:
            raise BrokerError("no mosquitto binary", mend="install mosquitto, or use the embedded broker")
        self.kind: Literal["mosquitto", "embedded"] = "mosquitto" if found else "embedded"

    async def __aenter__(self) -> BrokerSpec:
        await self.start()
        return self.spec

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start and return when a TCP connection works. Raises BrokerError (port in use, binary fails, no answer)."""
        await self._launch()
        self._keeper = asyncio.create_task(self._keep(), name="broker keeper")

    async def stop(self) -> None:
        """End the broker and wait for it. Harmless if it does not run."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        await self._end()

    async def _keep(self) -> None:
        pause_s = _PAUSE_S
        while True:
            if self._guard is not None:
                log.error("broker: %s ended by itself with status %s", self.kind, await self._guard.wait())
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), pause_s)
            try:
                await self._launch()
                pause_s = _PAUSE_S
            except BrokerError as error:
                log.error("broker: not started again: %s", error)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _launch(self) -> None:
        port = _claim(self.spec.port)
        self.spec = BrokerSpec(host=_HOST, port=port)
        if self.kind == "embedded":
            log.warning("broker: embedded amqtt on %s:%d (no mosquitto: slower, MQTT 3.1.1 only)", _HOST, port)
        else:
            log.info("broker: mosquitto on %s:%d", _HOST, port)
        self._guard = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "devices.broker", self.kind, str(port)),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._said.clear()
        self._listener = asyncio.create_task(self._listen(self._guard), name="broker log")
        try:
            await self._ready()
        except BrokerError:
            await self._end()
            raise

    async def _end(self) -> None:
        guard, self._guard = self._guard, None
        if guard is None:
            return
        assert guard.stdin is not None
        guard.stdin.close()
        try:
            await asyncio.wait_for(guard.wait(), 5)
        except TimeoutError:
            guard.kill()
            await guard.wait()
        if self._listener is not None:
            await self._listener

    async def _ready(self) -> None:
        guard = self._guard
        assert guard is not None
        ended = asyncio.ensure_future(guard.wait())
        deadline = time.monotonic() + self._ready_s
        try:
            while time.monotonic() < deadline:
                if await _answers(self.spec.port):
                    return
                await asyncio.wait({ended}, timeout=0.02)
                if ended.done():
                    raise await self._died(guard)
        finally:
            ended.cancel()
        raise BrokerError(
            f"{self.kind} does not answer after {self._ready_s:g} s", where=self._where, mend="see its log above"
        )

    async def _listen(self, guard: asyncio.subprocess.Process) -> None:
        """What the broker complains about goes to the log; unread, it would fill the pipe and stop the broker."""
        assert guard.stderr is not None
        async for line in guard.stderr:
            text = line.decode(errors="replace").rstrip()
            self._said.append(text)
            log.warning("%s: %s", self.kind, text)

    async def _died(self, guard: asyncio.subprocess.Process) -> BrokerError:
        assert self._listener is not None
        await self._listener
        last = self._said[-1] if self._said else f"exit status {guard.returncode}"
        return BrokerError(f"{self.kind} ended at once: {last}", where=self._where, mend="try another port")

    @property
    def _where(self) -> str:
        return f"broker {_HOST}:{self.spec.port}"


def _claim(port: int) -> int:
    """A port that is free now. Raises BrokerError naming the mend when the wanted one is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise BrokerError(
                f"cannot listen: {error.strerror}",
                where=f"broker {_HOST}:{port}",
                mend="name the running broker in the site file (broker: {host, port}), or use port 0",
            ) from error
        return int(probe.getsockname()[1])


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(_HOST, port)
    except OSError:
        return False
    writer.close()
    return True


# ---- the guard process -------------------------------------------------------------------------------------------


def guard(arguments: Sequence[str]) -> int:
    """`mosquitto PORT` or `embedded PORT`: run the broker until standard input closes or it ends by itself."""
    kind, port = arguments[0], int(arguments[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return _guard_mosquitto(port) if kind == "mosquitto" else asyncio.run(_serve_embedded(port))


def _guard_mosquitto(port: int) -> int:
    binary = mosquitto_path()
    if binary is None:
        return 127
    with tempfile.TemporaryDirectory(prefix="vpptwin-broker-") as folder:
        config = Path(folder) / "mosquitto.conf"
        config.write_text(_MOSQUITTO.format(host=_HOST, port=port), encoding="utf-8")
        with subprocess.Popen([binary, "-c", str(config)], stdin=subprocess.DEVNULL) as child:
            while child.poll() is None and not _stdin_closed(0.2):
                pass
            ended_itself = child.poll() is not None
            child.terminate()
            try:
                code = child.wait(3)
            except subprocess.TimeoutExpired:
                child.kill()
                code = child.wait()
    return code if ended_itself else 0


def _stdin_closed(within_s: float) -> bool:
    ready, _, _ = select.select([sys.stdin.fileno()], [], [], within_s)
    return bool(ready) and not os.read(sys.stdin.fileno(), 1024)


async def _serve_embedded(port: int) -> int:
    from amqtt.broker import Broker as Embedded
    from amqtt.contexts import BrokerConfig, ListenerConfig

    # Its warnings, and errors "No data", are about clients that come and go, as the check for readiness does.
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    logging.getLogger().handlers[0].addFilter(lambda record: "No data" not in record.getMessage())
    # Without its default plugins: they log every packet and publish $SYS counters.
    config = BrokerConfig(
        listeners={"default": ListenerConfig(bind=f"{_HOST}:{port}")},
        plugins={"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    )
    broker = Embedded(config)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    await broker.start()

    def watch() -> None:
        while not _stdin_closed(3600):
            pass
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=watch, daemon=True).start()
    await ended.wait()
    await broker.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(guard(sys.argv[1:]))
