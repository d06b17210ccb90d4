"""Cfgs as text for tests, and what they become."""

from __future__ import annotations

from edgeyolo.darknet.cfg import parse_cfg
from edgeyolo.darknet.layers import Layer
from edgeyolo.darknet.network import Network, network_from_cfg


def network(*sections: str, width: int = 32, height: int | None = None, channels: int = 3) -> Network:
    """Make a network of sections such as ``"convolutional filters=8 size=3"``."""
    lines = ["[net]", f"width={width}", f"height={height or width}", f"channels={channels}"]
    for section in sections:
        kind, *options = section.split()
        lines += [f"[{kind}]", *options]
    return network_from_cfg(parse_cfg("\n".join(lines), source="test.cfg"))


def last_layer(*sections: str, width: int = 32, height: int | None = None, channels: int = 3) -> Layer:
    return network(*sections, width=width, height=height, channels=channels).layers[-1]
