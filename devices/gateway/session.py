"""The MQTT connection of the gateway: paho in its own thread, version 5 with a fall-back to 3.1.1."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from devices.description import BrokerSpec

log = logging.getLogger(__name__)

START_S = 10.0
"""How long `start` waits for the first subscription; a broker that is not there yet is not fatal."""
LONGEST_S = 5
"""Wall seconds between attempts at most: asking costs nothing, and every tick without a broker is lost telemetry."""
ONLINE, OFFLINE = b"online", b"offline"
_KEEPALIVE_S = 30
_OLD_BROKER = "Unsupported protocol version"

Arrived = Callable[[str, bytes, bool], None]


class Session:
    """Subscribes again at every connection. `arrived` is called in paho's thread, `changed` in the event loop.

    `connected` is True from the broker's answer to the subscription until the connection is lost.
    """

    def __init__(
        self,
        broker: BrokerSpec,
        client_id: str,
        topics: Sequence[str],
        arrived: Arrived,
        changed: Callable[[bool], None],
        presence: str = "",
    ) -> None:
        """`presence`: topic that says `online` while the session lasts, and `offline` afterwards or as last will."""
        self.connected = False
        self._presence = presence
        self._asking = bool(presence)
        """A first connection without last will: amqtt refuses version 5 at once only without one."""
        self._version = MQTTProtocolVersion.MQTTv5
        self._broker, self._client_id, self._topics = broker, client_id, tuple(topics)
        self._arrived, self._changed = arrived, changed
        self._loop = asyncio.get_running_loop()
        self._settled = asyncio.Event()
        self._client: mqtt.Client | None = None
        self._restart: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect in the background; returns when subscribed, or after START_S without a broker."""
        self._open()
        try:
            await asyncio.wait_for(self._settled.wait(), START_S)
        except TimeoutError:
            log.warning("no MQTT broker at %s:%d yet; still trying", self._broker.host, self._broker.port)

    def publish(self, topic: str, payload: bytes, expires_s: float) -> bool:
        """Hand the broker a message that is worth nothing after `expires_s`, QoS 1, not retained; False if offline."""
        client = self._client
        if client is None or not self.connected:
            return False
        properties = None
        if client.protocol == MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.PUBLISH)
            properties.MessageExpiryInterval = max(math.ceil(expires_s), 1)
        sent = client.publish(topic, payload, qos=1, properties=properties)
        return bool(sent.rc == mqtt.MQTT_ERR_SUCCESS)

    def keep(self, topic: str, payload: bytes) -> bool:
        """Hand the broker a message to keep (retained), QoS 1; False if offline."""
        client = self._client
        if client is None or not self.connected:
            return False
        return bool(client.publish(topic, payload, qos=1, retain=True).rc == mqtt.MQTT_ERR_SUCCESS)

    async def stop(self) -> None:
        """Say goodbye, disconnect and end paho's thread."""
        if self._restart is not None:
            await self._restart
        if self._presence:
            self.keep(self._presence, OFFLINE)
        await self._end()

    async def _end(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.on_disconnect = None
            client.on_message = None
            client.disconnect()
            await asyncio.to_thread(client.loop_stop)

    def _open(self) -> None:
        five = self._version is MQTTProtocolVersion.MQTTv5
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=self._version,
            clean_session=None if five else True,
        )
        if self._presence and not self._asking:
            client.will_set(self._presence, OFFLINE, qos=1, retain=True)
        if self._broker.username is not None:
            client.username_pw_set(self._broker.username, self._broker.password)
        if self._broker.tls_ca is not None:
            client.tls_set(ca_certs=self._broker.tls_ca)
        client.reconnect_delay_set(1, LONGEST_S)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.connect_async(self._broker.host, self._broker.port, _KEEPALIVE_S)
        self._client = client
        client.loop_start()

    # The four below run in paho's thread.

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if not reason.is_failure and self._asking:
            self._loop.call_soon_threadsafe(self._learned, MQTTProtocolVersion.MQTTv5)
        elif not reason.is_failure:
            client.subscribe([(topic, 1) for topic in self._topics])
            if self._presence:
                client.publish(self._presence, ONLINE, qos=1, retain=True)
        elif str(reason) == _OLD_BROKER:
            self._loop.call_soon_threadsafe(self._learned, MQTTProtocolVersion.MQTTv311)
        else:
            log.warning("MQTT broker refuses the connection: %s; check user and password", reason)

    def _on_subscribe(self, _client: mqtt.Client, _data: Any, _mid: int, reasons: Any, _properties: Any) -> None:
        for topic, reason in zip(self._topics, reasons, strict=False):
            if reason.is_failure:
                log.error("MQTT broker refuses the subscription of %s: %s", topic, reason)
        self._loop.call_soon_threadsafe(self._note, True)

    def _on_disconnect(self, _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        log.warning("broker connection lost: %s", reason)
        self._loop.call_soon_threadsafe(self._note, False)

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        self._arrived(topic, message.payload, message.retain)

    # In the event loop.

    def _note(self, connected: bool) -> None:
        if connected:
            self._settled.set()
        if connected != self.connected:
            self.connected = connected
            self._changed(connected)

    def _learned(self, version: MQTTProtocolVersion) -> None:
        """What the broker speaks: connect anew if that, or the last will, is not what this connection has."""
        if (self._restart is None or self._restart.done()) and (self._asking or version is not self._version):
            if version is not self._version:
                log.info("the broker does not speak MQTT 5: using 3.1.1")
            self._asking, self._version = False, version
            self._restart = asyncio.create_task(self._reopen())

    async def _reopen(self) -> None:
        await self._end()
        self._open()
