"""MQTT against a real broker (mosquitto): topics, retained status, a broker that dies, comes back, hangs."""

from __future__ import annotations

import gc
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeyolo.errors import ConfigError
from edgeyolo.show import MqttSink, mqtt, mqtt_address
from tests.show.results import NAMES, event, result, two_boxes

pytestmark = pytest.mark.needs("mosquitto", "paho")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Broker:
    """A mosquitto that can be killed and started again on its port."""

    def __init__(self, folder: Path, *lines: str) -> None:
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._config.write_text("\n".join([f"listener {self.port} 127.0.0.1", *lines, "user root"]) + "\n")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [shutil.which("mosquitto") or "mosquitto", "-c", self._config],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_until(self._answers)

    def send(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)
        if number == signal.SIGKILL:
            self._process.wait()

    def stop(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


class Listener:
    """A subscriber; what it has received, in order."""

    def __init__(self, port: int, topic: str = "#", **login: str) -> None:
        import paho.mqtt.client as paho

        self.messages: queue.Queue[tuple[str, Any, bool]] = queue.Queue()
        self._there = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        if login:
            self._client.username_pw_set(**login)
        self._client.on_connect = lambda *_: self._client.subscribe(topic, qos=1)
        self._client.on_subscribe = lambda *_: self._there.set()
        self._client.on_message = lambda _client, _data, m: self.messages.put(
            (m.topic, m.payload.decode(), m.retain)
        )
        self._client.connect_async("127.0.0.1", port)
        self._client.loop_start()
        self.thread = self._client._thread
        assert self._there.wait(30)

    def next(self) -> tuple[str, Any]:
        topic, payload, _ = self.messages.get(timeout=60)
        return topic, json.loads(payload) if payload.startswith("{") else payload

    def next_of(self, topic: str) -> Any:
        while (got := self.next())[0] != topic:
            pass
        return got[1]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def wait_until(true: Callable[[], object]) -> None:
    ends_s = time.monotonic() + 60
    while not true():
        assert time.monotonic() < ends_s
        time.sleep(0.01)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path, "allow_anonymous true")
    yield broker
    broker.send(signal.SIGCONT)
    broker.stop()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "_LONGEST_RETRY_S", 1)


def sink_for(broker: Broker, more: str = "") -> MqttSink:
    address = mqtt_address(f"mqtt://127.0.0.1:{broker.port}/site/a{more}")
    return MqttSink(address, NAMES, live={"door"})


def test_topics_and_payloads(broker: Broker) -> None:
    listener = Listener(broker.port, "site/a/#")
    sink = sink_for(broker)
    assert listener.next() == ("site/a/status", "online")
    sink.write(
        result(7, camera="door", output=two_boxes(), age_ms=40.0, events=(event(camera="door"), event(8)))
    )
    sink.write(result(8, camera="1"))
    messages = [listener.next() for _ in range(4)]
    assert [topic for topic, _ in messages] == [
        "site/a/door/events", "site/a/door/events", "site/a/door/detections", "site/a/1/detections",
    ]  # fmt: skip
    assert [payload["frame"] for _, payload in messages] == [7, 8, 7, 8]
    detections = messages[2][1]
    assert detections["age_ms"] == 40.0
    assert [found["label"] for found in detections["detections"]] == ["café", "car"]
    assert "events" not in detections
    sink.close()
    sink.close()
    assert listener.next() == ("site/a/status", "offline")
    listener.close()
    late = Listener(broker.port, "site/a/status")
    assert late.messages.get(timeout=30) == ("site/a/status", "offline", True)
    late.close()
    assert sink.dropped == 0


def test_the_last_will_speaks_for_a_killed_run(broker: Broker) -> None:
    listener = Listener(broker.port, "site/a/status")
    sink = sink_for(broker)
    assert listener.next() == ("site/a/status", "online")
    sink._client._sock.shutdown(socket.SHUT_RDWR)
    assert listener.next() == ("site/a/status", "offline")
    assert listener.next() == ("site/a/status", "online")
    sink.close()
    listener.close()


def test_a_broker_that_is_killed_and_started_again_misses_nothing(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    sink = sink_for(broker)
    first = Listener(broker.port, "site/a/0/detections")
    sink.write(result(0))
    assert first.next()[1]["frame"] == 0
    broker.send(signal.SIGKILL)
    first.close()
    for index in range(1, 50):
        sink.write(result(index))
    wait_until(lambda: "wait for it" in caplog.text)
    broker.start()
    second = Listener(broker.port, "site/a/#")
    sink.write(result(50))
    frames = set()
    while 50 not in frames:
        frames.add(second.next_of("site/a/0/detections")["frame"])
    # What was sent again before the new listener was there went to nobody; from then on nothing is missing.
    assert frames == set(range(min(frames), 51))
    wait_until(lambda: "connected" in caplog.text.split("wait for it")[-1])
    sink.close()
    second.close()
    assert sink.dropped == 0
    assert caplog.text.count("wait for it") == 1


def test_a_broker_that_is_not_there_costs_the_oldest_of_a_bounded_queue(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(mqtt, "_WAITING", 10)
    port = free_port()
    sink = MqttSink(mqtt_address(f"mqtt://me:s3cret@127.0.0.1:{port}"), NAMES)
    for index in range(100):
        sink.write(result(index, events=(event(index),)))
    assert sink.dropped == 180
    wait_until(lambda: "not reachable" in caplog.text)
    sink.close()
    assert sink.dropped == 200
    assert caplog.text.count("oldest are dropped") == 1
    assert "s3cret" not in caplog.text
    assert "me:" not in caplog.text


def test_a_broker_that_hangs_costs_neither_time_nor_memory(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "_WAITING", 50)
    listener = Listener(broker.port, "site/a/status")
    sink = sink_for(broker)
    listener.next()
    broker.send(signal.SIGSTOP)
    for index in range(1000):
        sink.write(result(index))  # would wait
    wait_until(lambda: sink._in_flight == 20)
    assert 900 <= sink.dropped <= 950
    sink.close()
    assert sink.dropped == 1000
    broker.send(signal.SIGCONT)
    listener.close()


def test_a_rate(broker: Broker) -> None:
    listener = Listener(broker.port, "site/a/#")
    sink = sink_for(broker, "?rate=0.001")
    for index in range(20):
        sink.write(result(index, camera="a", events=(event(index),) if index == 9 else ()))
        sink.write(result(index, camera="b"))
    sink.close()
    topics = []
    while (got := listener.next()) != ("site/a/status", "offline"):
        topics.append(got[0].removeprefix("site/a/"))
    assert sorted(topics) == ["a/detections", "a/events", "b/detections", "status"]
    listener.close()


def test_a_login(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    users = tmp_path / "users"
    subprocess.run(["mosquitto_passwd", "-b", "-c", users, "me", "p@ss:1"], check=True, capture_output=True)
    broker = Broker(tmp_path, "allow_anonymous false", f"password_file {users}")
    listener = Listener(broker.port, "edgeyolo/status", username="me", password="p@ss:1")
    wrong = MqttSink(mqtt_address(f"mqtt://me:wr0ng@127.0.0.1:{broker.port}"), NAMES)
    wait_until(lambda: "refused" in caplog.text)
    wrong.close()
    right = MqttSink(mqtt_address(f"mqtt://me:p%40ss%3A1@127.0.0.1:{broker.port}"), NAMES)
    assert listener.next() == ("edgeyolo/status", "online")
    right.close()
    listener.close()
    broker.stop()
    assert "wr0ng" not in caplog.text


# paho leaves the socket of a failed handshake to the garbage collector, which warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_that_is_trusted_and_tls_that_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    plain = free_port()
    broker = Broker(
        tmp_path, f"certfile {certificate}", f"keyfile {key}", f"listener {plain} 127.0.0.1",
        "allow_anonymous true",
    )  # fmt: skip
    listener = Listener(plain, "edgeyolo/status")
    stranger = MqttSink(mqtt_address(f"mqtts://127.0.0.1:{broker.port}"), NAMES)
    wait_until(lambda: "not trusted" in caplog.text)
    stranger.close()
    wait_until(lambda: not any("paho" in t.name and t != listener.thread for t in threading.enumerate()))
    gc.collect()
    friend = MqttSink(mqtt_address(f"mqtts://127.0.0.1:{broker.port}?ca={certificate}"), NAMES)
    assert listener.next() == ("edgeyolo/status", "online")
    friend.close()
    listener.close()
    broker.stop()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("broker", "no scheme"),
        ("http://u:secret@h", "http:// found"),
        ("mqtt://", "a host"),
        ("mqtt://u:secret@h:99999", "a port"),
        ("mqtt://u:secret@h:0", "a port"),
        ("mqtt://u:secret@a..b", "a well-formed host"),
        ("mqtt://u:sec#ret@h", "%23"),
        ("mqtt://:secret@h", "a user before the password"),
        ("mqtt://u:secret@h/a/+/b", "without +"),
        ("mqtt://u:secret@h/$SYS", "without +"),
        ("mqtt://u:secret@h?rate=0", "0.001 to 1000"),
        ("mqtt://u:secret@h?rate=fast", "0.001 to 1000"),
        ("mqtt://u:secret@h?qos=2", "'qos' found"),
        ("mqtt://u:secret@h?rate", "expected after the prefix"),
        ("mqtt://u:secret@h?ca=/etc/hostname", "mqtts://"),
        ("mqtts://u:secret@h?ca=/no/such/file", "a file that is there"),
    ],
)
def test_addresses_that_are_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        mqtt_address(text)
    assert said in raised.value.message
    assert "secret" not in raised.value.message
    assert "u:" not in raised.value.message


@given(user=st.text(min_size=1), password=st.text(min_size=8))
def test_credentials_are_read_and_never_shown(user: str, password: str) -> None:
    from urllib.parse import quote

    try:
        user.encode(), password.encode()
    except UnicodeEncodeError:
        return
    address = mqtt_address(f"mqtt://{quote(user, safe='')}:{quote(password, safe='')}@host/p")
    assert (address.user, address.password) == (user, password)
    assert str(address) == "mqtt://host:1883/p"
    assert password not in repr(address)
