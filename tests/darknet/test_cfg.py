from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeyolo.darknet.cfg import parse_cfg, read_cfg
from edgeyolo.darknet.network import network_from_cfg
from edgeyolo.errors import CfgError, EdgeYoloError

SMALL = "[net]\nwidth=32\nheight=32\nchannels=3\n\n[convolutional]\nfilters=8\nsize=3\n"


def test_comments_spaces_and_line_ends_are_darknets() -> None:
    text = (
        "\ufeff# a comment\r\n; another\r\n\r\n[ net ] # ours\r\n  width = 6 4\t\r\nbatch_ normalize=1\r\n"
        "[route]\nlayers = -1, -4 # both\n"
    )
    cfg = parse_cfg(text.removeprefix("\ufeff"), source="a.cfg")
    assert (cfg.net.kind, cfg.net.line) == ("net", 4)
    assert [(o.key, o.value, o.line) for o in cfg.net.options] == [
        ("width", "64", 5),
        ("batch_normalize", "1", 6),
    ]
    assert [(s.kind, s.line) for s in cfg.sections] == [("route", 7)]
    assert cfg.sections[0].options[0].value == "-1,-4"


def test_a_key_given_twice_counts_once_and_is_told() -> None:
    cfg = parse_cfg("[net]\nwidth=1\nbatch=2\nwidth=3", source="a.cfg")
    assert [(o.key, o.value) for o in cfg.net.options] == [("width", "1"), ("batch", "2")]
    assert cfg.warnings == ("a.cfg:4: [net] width is given twice; '1' of line 2 counts, as in Darknet",)


def test_network_is_another_word_for_net() -> None:
    assert parse_cfg("[network]\nwidth=1", source="a.cfg").net.kind == "network"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.cfg: a [net] section expected, no section found"),
        ("# only\n; comments\n", "a.cfg: a [net] section expected, no section found"),
        ("width=3\n[net]", "a.cfg:1: a [net] section expected, 'width=3' found"),
        ("[convolutional]\nfilters=3", "a.cfg:1: [net] expected as the first section, [convolutional] found"),
        ("[net]\nwidth", "a.cfg:2: key=value expected, 'width' found"),
        ("[net]\n=3", "a.cfg:2: key=value expected, '=3' found"),
        ("[net\nwidth=3", "a.cfg:1: a section such as [convolutional] expected, '[net' found"),
        ("[net]\n[]", "a.cfg:2: a section such as [convolutional] expected, '[]' found"),
        ("[net]\n[conv]x", "a.cfg:2: a section such as [convolutional] expected, '[conv]x' found"),
        (
            "[net]\n[conv]\n[net]",
            "a.cfg:3: one [net] section expected, a second one found (the first: line 1)",
        ),
    ],
)
def test_what_is_no_cfg_is_told_with_its_line(text: str, message: str) -> None:
    with pytest.raises(CfgError) as caught:
        parse_cfg(text, source="a.cfg")
    assert str(caught.value) == message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("data", "message", "hint"),
    [
        (b"\n<!DOCTYPE html><html>", "a web page found", "download the raw file"),
        (b"<html>", "a web page found", "download the raw file"),
        (b"\x08\x07\x12\x00pytorch", "a binary file found", "starts with [net]"),
        (b"[net]\nwidth=3\n# \xd6\xd0\xce\xc4\n", ":3: UTF-8 text expected, byte 0xd6 found", "iconv"),
        (b"#" * (2 << 20), "at most 1 MiB expected", "starts with [net]"),
        (b"\0\0\0\0\2" * (1 << 19), "a binary file found", "weights come second"),
    ],
)
def test_files_that_are_something_else(tmp_path: Path, data: bytes, message: str, hint: str) -> None:
    path = tmp_path / "a.cfg"
    path.write_bytes(data)
    with pytest.raises(CfgError) as caught:
        read_cfg(path)
    assert message in str(caught.value)
    assert hint in (caught.value.hint or "")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CfgError, match="cannot be read: No such file"):
        read_cfg(tmp_path / "absent.cfg")
    with pytest.raises(CfgError, match="cannot be read: Is a directory"):
        read_cfg(tmp_path)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "a.cfg"
    path.write_bytes(b"\xef\xbb\xbf" + SMALL.encode())
    assert read_cfg(path).net.line == 1


NASTY_VALUES = st.sampled_from(
    [
        "",
        "0",
        "-1",
        "1",
        "2",
        "3",
        "1e9",
        "999999999",
        "2147483647",
        "99999999999999999999",
        "1,2",
        "-1,-2,",
        ",",
        "nan",
        "inf",
        "x",
        "0.5",
        "1.0",
        "-0",
        "leaky",
        "linear",
        "none",
        "relu",
        "per_channel",
        "\xb2",
        "\u0663",
    ]
) | st.text(max_size=8)
KEYS = st.sampled_from(
    [
        "activation",
        "anchors",
        "batch_normalize",
        "channels",
        "classes",
        "coords",
        "crop_height",
        "crop_width",
        "dilation",
        "filters",
        "flipped",
        "from",
        "global",
        "group_id",
        "groups",
        "height",
        "layers",
        "mask",
        "num",
        "output",
        "pad",
        "padding",
        "probability",
        "reverse",
        "scale",
        "scale_x_y",
        "share_index",
        "side",
        "size",
        "stride",
        "stride_x",
        "stride_y",
        "temperature",
        "tree",
        "weights_type",
        "width",
    ]
) | st.text(max_size=8)
KINDS = st.sampled_from(
    [
        "convolutional",
        "deconvolutional",
        "connected",
        "batchnorm",
        "maxpool",
        "local_avgpool",
        "avgpool",
        "upsample",
        "reorg",
        "reorg3d",
        "crop",
        "route",
        "shortcut",
        "scale_channels",
        "sam",
        "activation",
        "logistic",
        "l2norm",
        "dropout",
        "softmax",
        "cost",
        "yolo",
        "Gaussian_yolo",
        "region",
        "detection",
        "net",
        "lstm",
    ]
) | st.text(max_size=8)
SECTIONS = st.tuples(KINDS, st.lists(st.tuples(KEYS, NASTY_VALUES), max_size=6))


@given(st.lists(SECTIONS, max_size=12))
@settings(max_examples=400, deadline=None)
def test_mutated_cfgs_give_a_network_or_our_own_error(
    sections: list[tuple[str, list[tuple[str, str]]]],
) -> None:
    body = "".join(f"[{kind}]\n" + "".join(f"{k}={v}\n" for k, v in options) for kind, options in sections)
    with contextlib.suppress(EdgeYoloError):
        network = network_from_cfg(parse_cfg(SMALL + body, source="fuzz.cfg"))
        assert all(min(layer.out_shape) > 0 for layer in network.layers)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@settings(max_examples=200, deadline=None)
def test_any_bytes_give_a_cfg_or_our_own_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.cfg"
    path.write_bytes(data)
    with contextlib.suppress(CfgError):
        read_cfg(path)


@pytest.mark.parametrize(
    "text",
    [
        SMALL.replace("width=32", "width=1000000000"),
        SMALL.replace("filters=8", "filters=2147483647"),
        SMALL.replace("filters=8", "filters=" + "9" * 100_000),
        SMALL + "[connected]\noutput=2147483647\n",
        SMALL + "[upsample]\nstride=30000\n" * 3,
        SMALL + "[dropout]\n" * 20_000,
        SMALL + "[route]\nlayers=" + "-1," * 200_000,
    ],
    ids=lambda text: text[-20:].strip() + str(len(text)),
)
def test_huge_numbers_and_huge_cfgs_are_refused_or_read_without_being_allocated(text: str) -> None:
    started = time.process_time()
    with contextlib.suppress(EdgeYoloError):
        network_from_cfg(parse_cfg(text, source="huge.cfg"))
    # A bound, not a measurement: the naive ways take minutes or all memory.
    assert time.process_time() - started < 20


def test_ten_thousand_unknown_keys_take_no_time_to_complain_about() -> None:
    text = SMALL + "".join(f"strid{number}=1\n" for number in range(10_000))
    network = network_from_cfg(parse_cfg(text, source="a.cfg"))
    assert len(network.warnings) == 101
    assert network.warnings[-1] == "a.cfg: further warnings are not listed"
