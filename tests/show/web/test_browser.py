"""The page in a real browser: it moves, it obeys, it complains of nothing, and everyone can use it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeyolo.rules import Rules, read_rules
from edgeyolo.show.web import WebSink, ZoneDesk
from tests.browser import Browser, Page, open_browser
from tests.show.results import event
from tests.show.web.fake_run import NAMES, FakeControl, LoopThread, result, serving

pytestmark = pytest.mark.needs("chromium", "opencv", "web")
INKS = ("ink", "soft", "good", "warn", "bad", "accent")
ROLES = (*INKS, "ground", "panel", "accent-ink")
# A number that another picture would not give.
MIDDLE = (
    "(() => { const k = document.createElement('canvas'); k.width = k.height = 32;"
    " const to = k.getContext('2d', {willReadFrequently: true});"
    " to.drawImage(document.querySelector('.card canvas'), 0, 0, 32, 32);"
    " return to.getImageData(0, 0, 32, 32).data.reduce((sum, value, i) => sum + value * (i % 97), 0); })()"
)
PICTURED = "document.querySelector('.card')?.hasAttribute('data-pictured')"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@contextlib.contextmanager
def shown(
    browser: Browser, control: FakeControl | None = None, *, zones: ZoneDesk | None = None, **page: Any
) -> Iterator[tuple[Page, WebSink, FakeControl]]:
    """Give a page that shows a run whose loop goes on."""
    control = control or FakeControl()
    with serving(control, zones=zones) as sink:
        loop = LoopThread(sink, control)
        loop.start()
        try:
            opened = browser.page(f"http://127.0.0.1:{sink.port}/", **page)
            opened.wait_for(PICTURED)
            yield opened, sink, control
            assert opened.complaints() == []
            opened.close()
        finally:
            loop.end()


def picture_of(png: bytes) -> Any:
    import cv2

    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)


def wait_for_change(page: Page, expression: str) -> None:
    before = page.value(expression)
    page.wait_for(
        f"({expression}) !== {before!r}" if not isinstance(before, str) else f"({expression}) !== `{before}`"
    )


def set_range(page: Page, selector: str, value: float) -> None:
    page.value(
        f"(() => {{ const r = document.querySelector('{selector}'); r.value = {value};"
        " r.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


def test_the_picture_moves_and_the_charts_grow(browser: Browser) -> None:
    with shown(browser) as (page, _, _):
        first = picture_of(page.screenshot())
        wait_for_change(page, MIDDLE)
        wait_for_change(page, MIDDLE)
        second = picture_of(page.screenshot())
        assert (np.abs(first.astype(int) - second).max(axis=2) > 24).sum() > 200
        for chart in (".fps-chart path:last-of-type", ".age-chart path:last-of-type"):
            wait_for_change(page, f"document.querySelector('{chart}').getAttribute('d')")
        assert page.text(".fps") == "29.7"
        assert page.text(".tail") == "55, 71 ms"
        assert page.text(".dropped") == "10"
        page.wait_for("document.querySelectorAll('#seen tr').length > 2")
        page.wait_for("document.querySelector('.now').textContent.length > 3")


def test_the_controls_act_on_the_run(browser: Browser) -> None:
    with shown(browser) as (page, _, control):
        page.wait_for("document.querySelectorAll('#class-list input').length === 8")
        boxes = "Number(document.querySelectorAll('#seen tr').length)"
        page.wait_for(f"{boxes} > 3")
        set_range(page, "#conf", 0.9)
        page.wait_for("document.querySelector('#conf-now').textContent === '0.90'")
        page.wait_for("fetch('/api/conf').then(r => r.json()).then(v => v.conf === 0.9)")
        assert control.conf == 0.9
        page.click("#class-none")
        page.wait_for("!document.querySelector('#control-error').hidden")
        assert control.class_ids is None, "no class at all is not sent"
        page.click("#class-list li:nth-child(3) input")
        page.wait_for("fetch('/api/classes').then(r => r.json()).then(v => v.class_ids !== null)")
        assert control.class_ids == (2,)
        page.click("#class-all")
        page.wait_for("fetch('/api/classes').then(r => r.json()).then(v => v.class_ids === null)")
        control.conf = 0.4  # another page has changed it
        page.wait_for("document.querySelector('#conf-now').textContent === '0.40'")


def test_a_keyboard_is_enough(browser: Browser) -> None:
    with shown(browser, FakeControl(("0", "1"))) as (page, _, control):
        page.wait_for("document.querySelectorAll('#class-list input').length === 8")
        page.wait_for("document.querySelector('#conf-now').textContent === '0.25'")
        seen = set()
        for _ in range(40):
            page.key("Tab")
            seen.add(page.value("document.activeElement.id || document.activeElement.className"))
        assert {
            "skip",
            "theme",
            "conf",
            "class-all",
            "class-none",
            "tool pen",
            "tool still",
            "tool large",
        } <= seen
        page.value("document.querySelector('#conf').focus()")
        for _ in range(5):
            page.key("ArrowRight")
        page.wait_for("fetch('/api/conf').then(r => r.json()).then(v => v.conf === 0.3)")
        assert control.conf == 0.3
        page.value("document.querySelector('.card:nth-child(2) .large').focus()")
        page.key("Enter")
        assert page.value("getComputedStyle(document.querySelector('.card')).display") == "none"
        page.key("Escape")
        assert page.value("getComputedStyle(document.querySelector('.card')).display") == "flex"


def test_a_screen_reader_finds_a_name_for_everything_and_hears_of_a_lost_camera(browser: Browser) -> None:
    with shown(browser, FakeControl(("0", "door"))) as (page, _, control):
        page.wait_for("document.querySelectorAll('#class-list input').length === 8")
        nodes = page.call("Accessibility.getFullAXTree")["nodes"]
        kinds = {"button", "link", "slider", "checkbox", "searchbox", "textbox", "image", "article"}
        acting = [n for n in nodes if n.get("role", {}).get("value") in kinds]
        assert len(acting) > 20
        assert [n for n in acting if not n["ignored"] and not n["name"]["value"]] == []
        names = {n["name"]["value"] for n in acting}
        assert {"Confidence", "Download a picture of camera door", "Camera door", *NAMES} <= names
        assert any(name.startswith("Frames a second, last") and "now 29.7" in name for name in names)
        control.set("door", state="retrying", reason="connection refused", retry_in_s=4.0)
        page.wait_for("document.querySelector('#spoken').textContent.includes('Camera door is retrying')")
        assert "connection refused" in page.text("[data-camera=door] .veil")
        assert "again in 4 s" in page.text("[data-camera=door] .veil")


@pytest.mark.parametrize("cameras", [1, 2, 16])
@pytest.mark.parametrize("width", [360, 390, 768, 1280])
def test_nothing_sticks_out_sideways(browser: Browser, cameras: int, width: int) -> None:
    long = "a-very-long-name-of-a-camera-in-the-warehouse-behind-the-station"
    control = FakeControl([long, *map(str, range(1, cameras))])
    control.set(long, name="rtsp://camera.example.org:8554/" + "stream/" * 30, reason="x" * 200)
    with shown(browser, control, wh=(width, 800)) as (page, _, _):
        page.wait_for(f"document.querySelectorAll('.card').length === {cameras}")
        assert page.value("document.documentElement.scrollWidth <= innerWidth")
        assert page.value(
            "[...document.querySelectorAll('button:not([hidden]), .tool, input[type=checkbox]')].every("
            "e => { const b = e.getBoundingClientRect(); return b.right <= innerWidth + 1; })"
        )


def test_sixteen_cameras_come_over_one_connection_and_only_what_is_on_the_screen(browser: Browser) -> None:
    control = FakeControl([str(i) for i in range(16)])
    with shown(browser, control, wh=(1280, 700)) as (page, sink, _):
        page.wait_for("document.querySelectorAll('[data-pictured]').length >= 6")
        page.wait_for("fetch('/api/status').then(r => r.json()).then(v => v.streams === 2)")
        assert page.value("document.querySelectorAll('[data-pictured]').length") < 16
        page.value("document.querySelector('.card:last-child').scrollIntoView()")
        page.wait_for("document.querySelector('.card:last-child').hasAttribute('data-pictured')")
        assert sink.wants_picture


def test_a_run_that_goes_away_is_told_and_comes_back(browser: Browser) -> None:
    control = FakeControl()
    with shown(browser, control) as (page, sink, _):
        page.wait_for("document.querySelector('#link').textContent === 'connected'")
        assert page.value("document.querySelector('#lost').hidden")
        sink.close()
        page.wait_for("!document.querySelector('#lost').hidden")
        assert "lost" in page.text("#link")
        with serving(control, address=f"127.0.0.1:{sink.port}") as again:
            loop = LoopThread(again, control)
            loop.start()
            page.wait_for("document.querySelector('#link').textContent === 'connected'")
            page.wait_for("document.querySelector('#lost').hidden")
            wait_for_change(page, MIDDLE)
            loop.end()
            # What the browser itself says of connections that failed is true.
            assert [c for c in page.complaints() if "net::ERR_" not in c] == []
            page.call("Page.navigate", url="about:blank")  # or it asks on when this server is gone too
            page.wait_for("location.href === 'about:blank'")
            page.forget_complaints()


def test_light_and_dark_are_the_systems_or_the_users(browser: Browser) -> None:
    with shown(browser, dark=True) as (page, _, _):
        ground = "getComputedStyle(document.body).backgroundColor"
        assert page.value(ground) == "rgb(13, 16, 19)"
        page.click("#theme")
        assert page.value(ground) == "rgb(243, 245, 247)"
        page.call("Page.reload")
        page.wait_for(PICTURED)
        assert page.value(ground) == "rgb(243, 245, 247)"
        page.click("#theme")
        page.click("#theme")


def test_text_can_be_read_on_its_ground_in_both_schemes(browser: Browser) -> None:
    with shown(browser) as (page, _, _):
        for scheme in ("light", "dark"):
            page.value(f"document.documentElement.dataset.theme = '{scheme}'")
            roles = {role: colour(page, role) for role in ROLES}
            for ink in INKS:
                for ground in ("ground", "panel"):
                    assert contrast(roles[ink], roles[ground]) >= 4.5, (scheme, ink, ground)
            assert contrast(roles["accent-ink"], roles["accent"]) >= 4.5


def colour(page: Page, role: str) -> list[float]:
    """Give what a role of the style sheet comes to, as red, green, blue."""
    return list(
        page.value(
            "(() => { const p = document.createElement('p'); document.body.append(p);"
            f" p.style.color = 'var(--{role})'; const said = getComputedStyle(p).color; p.remove();"
            " return said.match(/[\\d.]+/g).map(Number); })()"
        )
    )


def contrast(one: list[float], other: list[float]) -> float:
    """Source: WCAG 2.2, "contrast ratio"."""

    def luminance(rgb: list[float]) -> float:
        parts = [
            v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in rgb[:3])
        ]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_names_of_cameras_and_classes_are_text_whatever_they_say(browser: Browser) -> None:
    nasty = '<img src=x onerror="document.title=1">'
    control = FakeControl((nasty,))
    control.set(nasty, name=nasty, reason=nasty)
    with shown(browser, control) as (page, sink, _):
        sink.write(
            result(1, camera=nasty, picture=False, events=(event(1, camera=nasty, label=nasty, where=nasty),))
        )
        page.wait_for("document.querySelector('#events').textContent.includes('onerror')")
        assert page.value("document.querySelectorAll('img').length") == 0
        assert nasty in page.text(".name")


def test_events_are_told_in_words(browser: Browser) -> None:
    with shown(browser) as (page, sink, _):
        crossing = event(3, kind="cross", where="door", direction="in", counts={"in": 4, "out": 3})
        sink.write(result(3, picture=False, events=(event(2), crossing)))
        page.wait_for("document.querySelectorAll('#events li').length === 2")
        assert "crosses door, in" in page.text("#events li:first-child")
        assert "in 4 · out 3" in page.text("#events li:first-child")
        assert "enters door" in page.text("#events li:last-child")


def test_a_token_is_asked_for_and_then_not_again(browser: Browser, tmp_path: Path) -> None:
    token = "correct-horse-battery"
    (tmp_path / "token").write_text(token)
    with serving(token_file=tmp_path / "token") as sink:
        page = browser.page(f"http://127.0.0.1:{sink.port}/")
        page.click("#token")
        page.call("Input.insertText", text=token)
        page.key("Enter")
        page.wait_for("document.querySelector('#link')?.textContent === 'connected'")
        assert page.value("location.pathname + location.search") == "/"
        assert page.value("document.cookie") == ""
        page.call("Page.navigate", url=f"http://127.0.0.1:{sink.port}/?token={token}")
        page.wait_for("document.querySelector('#link')?.textContent === 'connected'")
        assert page.value("location.search") == ""
        assert [c for c in page.complaints() if "401" not in c] == []  # the first answer was no page
        page.close()


# --- drawing ----------------------------------------------------------------------------------------------


def drawn(page: Page) -> str:
    return str(page.value("document.querySelector('#toml').value"))


def test_a_zone_and_a_line_are_drawn_with_the_mouse_and_saved(browser: Browser, tmp_path: Path) -> None:
    file, applied = tmp_path / "events.toml", []
    desk = ZoneDesk(Rules(), cameras=["0"], file=file, apply=applied.append)
    with shown(browser, zones=desk) as (page, _, _):
        page.click(".pen")
        page.wait_for("document.querySelector('#stage canvas').width > 16")
        for corner in ((0.2, 0.2), (0.6, 0.2), (0.6, 0.8)):
            page.click("#stage", at=corner)
        page.click("#stage", at=(0.2, 0.2))  # the first corner again
        page.wait_for("document.querySelector('#toml').value.includes('zone 1')")
        page.click("[name=tool][value=line]")
        page.click("#stage", at=(0.8, 0.9))
        page.click("#stage", at=(0.8, 0.1))
        page.wait_for("document.querySelector('#toml').value.includes('line 1')")
        start, end = page.centre("#stage", (0.6, 0.8)), page.centre("#stage", (0.5, 0.7))
        page.drag(start, end)
        page.wait_for("document.querySelector('#toml').value.includes('0.7')")
        page.click("#toml-save")
        page.wait_for("document.querySelector('#toml-note').textContent.includes('Saved')")
        rules = read_rules(file)
        assert [z.name for z in rules.zones] + [line.name for line in rules.lines] == ["zone 1", "line 1"]
        corners = np.array(rules.zones[0].points)
        assert corners == pytest.approx(np.array([[0.2, 0.2], [0.6, 0.2], [0.5, 0.7]]), abs=0.01)
        assert rules.lines[0].a == pytest.approx((0.8, 0.9), abs=0.01)
        assert applied == [rules_without_source(rules)]
        page.click("#shapes li:last-child button")
        page.wait_for("!document.querySelector('#toml').value.includes('line 1')")


def rules_without_source(rules: Rules) -> Rules:
    import dataclasses

    return dataclasses.replace(rules, source="the drawing")


@pytest.mark.parametrize("wh", [(1280, 620), (1280, 1100), (390, 844)])
def test_a_place_on_the_drawing_is_that_place_in_the_picture(browser: Browser, wh: tuple[int, int]) -> None:
    with shown(browser, wh=wh) as (page, _, _):
        page.click(".pen")
        page.wait_for("document.querySelector('#stage svg').dataset.of")  # of a picture that was shown
        for part in ("#stage", "#stage svg", "#stage canvas"):
            width, height = page.value(
                f"(() => {{ const b = document.querySelector('{part}').getBoundingClientRect();"
                " return [b.width, b.height]; })()"
            )
            assert width / height == pytest.approx(640 / 480, rel=0.01), part
        assert page.value("document.querySelector('#editor').scrollWidth <= innerWidth")


def test_a_zone_is_drawn_with_the_keyboard_and_told_in_words(browser: Browser) -> None:
    with shown(browser) as (page, _, _):
        page.value("document.querySelector('.pen').focus()")
        page.key("Enter")
        page.wait_for("document.activeElement.id === 'stage'")
        page.wait_for("document.querySelector('#stage canvas').width > 16")
        page.key("Enter")
        for _ in range(4):
            page.key("ArrowRight", shift=True)
        assert page.text("#draw-said") == "70 % across, 50 % down"
        page.key("Enter")
        for _ in range(4):
            page.key("ArrowDown", shift=True)
        page.key("Enter")
        page.key("f")
        page.wait_for(
            "document.querySelector('#toml').value.includes('[[0.5, 0.5], [0.7, 0.5], [0.7, 0.7]]')"
        )
        assert page.value("document.querySelector('#toml-save').hidden")
        page.key("Tab")  # the first corner
        page.key("ArrowLeft")
        page.wait_for("document.querySelector('#toml').value.includes('[0.49, 0.5]')")
        page.key("Escape")
        page.wait_for("!document.querySelector('#editor').open")


def test_what_a_rule_says_beside_its_place_is_kept(browser: Browser) -> None:
    from edgeyolo.rules import Zone

    zone = Zone(name="till", points=((0.1, 0.1), (0.5, 0.1), (0.5, 0.5)), classes=("star",), dwell=3.0)
    with shown(browser, zones=ZoneDesk(Rules(zones=(zone,)), cameras=["0"])) as (page, _, _):
        page.click(".pen")
        page.wait_for("document.querySelector('#toml').value.includes('till')")
        page.value(
            "(() => { const n = document.querySelector('#shapes input'); n.value = 'desk';"
            " n.dispatchEvent(new Event('change')); })()"
        )
        page.wait_for("document.querySelector('#toml').value.includes('desk')")
        assert 'classes = ["star"]' in drawn(page)
        assert "dwell = 3" in drawn(page)
        page.value(
            "(() => { const n = document.querySelector('#shapes input'); n.value = ' ';"
            " n.dispatchEvent(new Event('change')); })()"
        )
        page.wait_for("!document.querySelector('#draw-error').hidden")
        assert "name" in page.text("#draw-error")
        page.forget_complaints()  # of the answer 400, which the page has shown
