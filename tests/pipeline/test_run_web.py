"""``edgeyolo run --web`` as a user has it: the real run, the demo's model, a real browser."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeyolo.rules import read_rules
from tests.browser import Browser, open_browser
from tests.command import edgeyolo
from tests.parts import PROJECT

pytestmark = pytest.mark.needs("onnx", "onnxruntime", "opencv", "web")
ASSETS = PROJECT / "edgeyolo" / "assets"
SCENE = "test://?width=640&height=480&fps=30&frames=0&seed=4&cut=60"
WAIT_S = 90
EDGEYOLO = [sys.executable, "-c", "from edgeyolo.cli.start import start; start()"]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from edgeyolo.build import build
    from edgeyolo.darknet.convert import ConvertOptions, convert

    folder = tmp_path_factory.mktemp("engine")
    names = ConvertOptions(names=ASSETS / "demo.names")
    convert(ASSETS / "demo.cfg", ASSETS / "demo.weights", folder / "demo.onnx", names)
    build(folder / "demo.onnx", folder / "demo.engine", backend="onnxruntime")
    return folder / "demo.engine"


@contextlib.contextmanager
def running(*words: object) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Give the page's address, and the process, which is ended as a service manager ends it."""
    command = [*EDGEYOLO, "run", *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if found := re.search(r"web page: (http://\S+)", line):
                break
        else:
            pytest.fail("".join(said))
        yield found[1], process
    finally:
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=WAIT_S)
        assert process.returncode == 130, rest
        assert "Traceback" not in rest


def ask(url: str, value: object = None) -> Any:
    body = None if value is None else json.dumps(value).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
        return json.loads(answer.read())


def until(true: Any) -> Any:
    deadline = time.monotonic() + WAIT_S
    while not (value := true()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return value


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.mark.needs("chromium")
def test_what_the_page_sets_is_what_the_run_does(engine: Path, browser: Browser, tmp_path: Path) -> None:
    jsonl = tmp_path / "out.jsonl"

    def frames() -> list[dict[str, Any]]:
        return [json.loads(line) for line in jsonl.read_text().splitlines()]

    options = ("--conf", "0.05", "--jsonl", jsonl, "--web", "127.0.0.1:0")
    with running(engine, SCENE, *options) as (url, _):
        page = browser.page(url)
        page.wait_for("document.querySelector('.card')?.hasAttribute('data-pictured')")
        page.wait_for("document.querySelectorAll('#seen tr').length > 0")
        page.wait_for("document.querySelectorAll('#stages tr').length > 3")
        assert "demo.engine: onnxruntime fp32" in page.text("#engine")
        page.value("document.querySelector('#conf').focus()")
        page.wait_for("document.querySelector('#conf-now').textContent === '0.05'")
        for _ in range(60):
            page.key("ArrowRight")
        page.wait_for("fetch('/api/conf').then(r => r.json()).then(v => v.conf === 0.65)")
        sure_from = len(frames()) + 10  # a few were on their way
        until(lambda: len(frames()) > sure_from + 20)
        done = frames()
        assert min(d["score"] for frame in done[:10] for d in frame["detections"]) < 0.65
        assert min(d["score"] for frame in done[sure_from:] for d in frame["detections"]) >= 0.65
        page.click("#class-none")
        page.click("#class-list li:nth-child(3) input")
        page.wait_for("fetch('/api/classes').then(r => r.json()).then(v => v.class_ids !== null)")
        until(lambda: {d["class_id"] for d in frames()[-1]["detections"]} == {2})
        assert page.complaints() == []
        page.close()


@pytest.mark.needs("chromium")
def test_a_zone_drawn_on_the_page_makes_events_at_once(
    engine: Path, browser: Browser, tmp_path: Path
) -> None:
    events = tmp_path / "events.toml"
    options = ("--web", "127.0.0.1:0", "--events", events, "--events-editable")
    with running(engine, SCENE, *options) as (url, _):
        page = browser.page(url)
        page.wait_for("document.querySelector('.card')?.hasAttribute('data-pictured')")
        page.click(".pen")
        page.wait_for("document.querySelector('#stage canvas').width > 16")
        for corner in ((0.02, 0.02), (0.98, 0.02), (0.98, 0.98), (0.02, 0.98)):
            page.click("#stage", at=corner)
        page.click("#draw-finish")
        page.wait_for("document.querySelector('#toml').value.includes('zone 1')")
        page.click("#toml-save")
        page.wait_for("document.querySelector('#toml-note').textContent.includes('Saved')")
        assert [zone.name for zone in read_rules(events).zones] == ["zone 1"]
        page.wait_for("document.querySelector('#events').textContent.includes('enters zone 1')")
        assert page.complaints() == []
        page.close()


def test_programs_ask_the_same(engine: Path) -> None:
    with running(engine, SCENE, "door=" + SCENE, "--web", "127.0.0.1:0") as (url, _):
        until(lambda: all(c["results"] for c in ask(url + "api/status")["cameras"]))
        assert [c["camera"] for c in ask(url + "api/status")["cameras"]] == ["0", "door"]
        assert ask(url + "healthz") == {"status": "ok"}
        assert ask(url + "api/conf", {"conf": 0.5}) == {"conf": 0.5}
        with pytest.raises(urllib.error.HTTPError, match="400"):
            ask(url + "api/classes", {"classes": ["unicorn"]})
        table = {"name": "mat", "camera": "door", "points": [[0, 0], [1, 0], [1, 1]]}
        assert 'camera = "door"' in ask(url + "api/zones/check", {"zone": [table]})["toml"]
        with urllib.request.urlopen(url + "snapshot/door.jpg", timeout=WAIT_S) as picture:
            assert picture.read(3) == b"\xff\xd8\xff"
        with urllib.request.urlopen(url + "metrics", timeout=WAIT_S) as metrics:
            assert 'edgeyolo_source_up{camera="door"} 1.0' in metrics.read().decode()
        done = edgeyolo("run", str(engine), SCENE, "--web", url.split("/")[2])
        assert done.returncode == 2
        assert "the port is in use" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--web", "here"), "HOST:PORT expected"),
        (("--web", "127.0.0.1:0", "--web-clients", "0"), "1 or more expected"),
        (("--web", "127.0.0.1:0", "--web-fps", "0"), "above 0"),
        (("--web", "127.0.0.1:0", "--web-token-file", "no-such-file"), "cannot be read"),
        (("--web", "127.0.0.1:0", "--web-host", "https://cam.example.org:8443"), "a name alone expected"),
        (("--web-host", "cam.example.org"), "are for --web"),
    ],
)
def test_options_that_are_refused(words: tuple[str, ...], said: str, engine: Path) -> None:
    done = edgeyolo("run", str(engine), SCENE, *words)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
