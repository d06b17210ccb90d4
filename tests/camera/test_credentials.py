"""No text of ours or of a foreign library shows a password, however it is written."""

from __future__ import annotations

import base64
import re
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgeyolo.camera.address import Address
from edgeyolo.camera.credentials import scrub
from edgeyolo.errors import SourceOpenError

# A secret that a mask could not hide anyway has a star in it; one of letters alone may be a word of the text.
SECRET = st.text(
    st.characters(codec="utf-8", exclude_characters="*\x00", exclude_categories=["Cs", "Cc"]),
    min_size=4,
    max_size=20,
).filter(lambda text: text not in "rtsp://camera.local/stream 401 Unauthorized [channel=1&subtype=0]")
WORD = st.text(st.characters(codec="utf-8", categories=["L", "Nd"]), min_size=4, max_size=20)


def quote_in_lower_case(text: str) -> str:
    return re.sub("%..", lambda found: found[0].lower(), quote(text, safe=""))


ENCODERS = st.sampled_from([lambda text: quote(text, safe=""), quote_plus, quote_in_lower_case])
# How GStreamer, FFmpeg and libsoup put an address into what they say.
TEXTS = (
    "Unauthorized (401), URL: {address}, Redirect to: (NULL)",
    "[rtsp @ 0x55] method DESCRIBE failed: 401 {address}",
    "user-id={user} user-pw={password}",
    "login {user}:{password} at camera.local",
    "{password}",
    "Authorization: Basic {basic}",
)


@given(SECRET, SECRET, ENCODERS, st.sampled_from(TEXTS))
def test_user_and_password_are_in_no_text(user: str, password: str, encode, text: str) -> None:
    address = f"rtsp://{encode(user)}:{encode(password)}@camera.local:554/stream?channel=1"
    basic = base64.b64encode(f"{user}:{password}".encode()).decode()
    for spelled in (
        password,
        quote(password),
        quote(password, safe=""),
        quote_plus(password),
        encode(password),
    ):
        said = text.format(address=address, user=user, password=spelled, basic=basic)
        shown = scrub(said, address)
        assert password not in shown
        assert spelled not in shown
        assert basic not in shown


@given(WORD, WORD)
def test_a_login_in_an_unknown_address_is_masked(user: str, password: str) -> None:
    shown = scrub(f"cannot open http://{user}:{password}@10.0.0.3/video and rtsp://10.0.0.4/a")
    assert shown == "cannot open http://***@10.0.0.3/video and rtsp://10.0.0.4/a"


@pytest.mark.parametrize(
    "key",
    [
        "token",
        "access_token",
        "pwd",
        "user-pw",
        "password",
        "pass",
        "auth",
        "apiKey",
        "sig",
        "user",
        "usr",
        "loginpas",
    ],
)
@given(value=WORD)
def test_values_that_let_one_in_are_masked_by_name(key: str, value: str) -> None:
    assume(value not in f"404 http://10.0.0.3/video.cgi?{key}=&channel=1 (value )")
    address = f"http://10.0.0.3/video.cgi?{key}={value}&channel=1"
    assert scrub(f"404 {address} (value {value})", address) == (
        f"404 http://10.0.0.3/video.cgi?{key}=***&channel=1 (value ***)"
    )


def test_a_value_that_looks_drawn_by_lot_is_masked_and_a_path_is_not() -> None:
    assert (
        scrub("http://10.0.0.3/v?id=1&k=eyJhbGciOiJIUzI1NiJ9.e30.Et9HFtf9R3G")
        == "http://10.0.0.3/v?id=1&k=***"
    )
    text = "filesrc location=/home/robot/videos/of-the-yard.mp4 ! decodebin"
    assert scrub(text) == text


def test_short_secrets_do_not_eat_the_words_around_them() -> None:
    text = "camera a at 10.0.0.3 refuses a:b"
    assert scrub(text, "rtsp://a:b@10.0.0.3/") == "camera *** at 10.0.0.3 refuses ***:***"


@given(SECRET, SECRET, ENCODERS)
def test_the_printable_name_of_a_camera_has_neither(user: str, password: str, encode) -> None:
    address = Address.parse(
        f"rtsp://{encode(user)}:{encode(password)}@10.0.0.3:554/live?auth={encode(password)}&ch=1"
    )
    assert address.name == "rtsp://10.0.0.3:554/live?auth=***&ch=1"
    assert "@" not in address.location
    if encode is not quote_plus:  # a plus is itself in a login
        assert address.password is not None
        assert address.password == password


@given(
    st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=30).map(lambda t: f"zq{t}qz")
)
def test_a_password_that_is_not_encoded_is_not_shown_either(password: str) -> None:
    uri = f"rtsp://me:{password}@10.0.0.3/live"
    try:
        address = Address.parse(uri)
    except SourceOpenError as exc:
        said = f"{exc.message} {exc.hint}"
    else:
        said = address.name
    assert "zq" not in said
    assert "qz" not in said
