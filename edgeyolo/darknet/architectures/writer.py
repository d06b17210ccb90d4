"""Writes a cfg one layer at a time, so that an architecture can be stated as a program.

Owns the text of each section. Every method gives the index of its layer, which later layers name it by.
Refuses to know any architecture.
"""

from __future__ import annotations

from collections.abc import Iterable

from edgeyolo.darknet.cfg import Cfg, parse_cfg

__all__ = ["CfgWriter"]

Anchors = tuple[tuple[float, float], ...]


class CfgWriter:
    r"""A cfg in the making.

    Args:
        name: Name of the architecture; messages call the cfg so.
        size: Width and height of the network input, pixels.

    Examples:
        >>> net = CfgWriter("two", size=32)
        >>> stem = net.convolutional(8, 3)
        >>> net.shortcut(stem)
        1
        >>> print(net.text().split("\n\n")[-1])
        [shortcut]
        from=0
        activation=linear
    """

    def __init__(self, name: str, *, size: int) -> None:
        self._name = name
        self._sections = [_section("net", width=size, height=size, channels=3)]

    def convolutional(
        self,
        filters: int,
        size: int,
        *,
        stride: int = 1,
        activation: str = "leaky",
        batch_normalize: bool = True,
    ) -> int:
        """Add a convolution that keeps the picture's size but for the stride."""
        normalize = {"batch_normalize": 1} if batch_normalize else {}
        return self._add(
            "convolutional",
            **normalize,
            filters=filters,
            size=size,
            stride=stride,
            pad=1,
            activation=activation,
        )

    def prediction(self, filters: int) -> int:
        """Add the last convolution before a head: 1x1, linear, a bias in place of batch normalisation."""
        return self.convolutional(filters, 1, activation="linear", batch_normalize=False)

    def shortcut(self, layer: int) -> int:
        """Add `layer` to the previous one."""
        return self._add("shortcut", **{"from": layer}, activation="linear")

    def route(self, *layers: int) -> int:
        """Concatenate layers along the channels; of one, go on from there."""
        return self._add("route", layers=_joined(layers))

    def second_half(self, layer: int) -> int:
        """Go on from the second half of a layer's channels."""
        return self._add("route", layers=layer, groups=2, group_id=1)

    def maxpool(self, size: int, stride: int) -> int:
        """Add a max pool with Darknet's padding, ``size - 1`` in all."""
        return self._add("maxpool", size=size, stride=stride)

    def upsample(self) -> int:
        """Double width and height."""
        return self._add("upsample", stride=2)

    def reorg(self) -> int:
        """Halve width and height into four times the channels."""
        return self._add("reorg", stride=2)

    def avgpool(self) -> int:
        """Take the mean of each channel."""
        return self._add("avgpool")

    def softmax(self) -> int:
        """Turn scores into probabilities."""
        return self._add("softmax", groups=1)

    def yolo(
        self, anchors: Anchors, mask: tuple[int, ...], classes: int, *, scale_x_y: float | None = None
    ) -> int:
        """Add a ``[yolo]`` head; anchors in pixels of the network input.

        ``scale_x_y`` is AlexeyAB's word: it also says that his Darknet fits the pictures, so that a model of
        the first Darknet must not have it, not even as 1.
        """
        stretch = {} if scale_x_y is None else {"scale_x_y": scale_x_y}
        return self._add(
            "yolo",
            mask=_joined(mask),
            anchors=_joined(side for anchor in anchors for side in anchor),
            classes=classes,
            num=len(anchors),
            **stretch,
        )

    def region(self, anchors: Anchors, classes: int) -> int:
        """Add a ``[region]`` head; anchors in cells."""
        return self._add(
            "region",
            anchors=_joined(side for anchor in anchors for side in anchor),
            classes=classes,
            coords=4,
            num=len(anchors),
            softmax=1,
        )

    def text(self) -> str:
        """Give the cfg's text."""
        return "\n\n".join(self._sections)

    def cfg(self) -> Cfg:
        """Give the cfg as ``read_cfg`` would read it from a file."""
        return parse_cfg(self.text(), source=self._name)

    def _add(self, kind: str, **options: object) -> int:
        self._sections.append(_section(kind, **options))
        return len(self._sections) - 2  # [net] is no layer


def _section(kind: str, **options: object) -> str:
    return "\n".join([f"[{kind}]", *(f"{key}={value}" for key, value in options.items())])


def _joined(values: Iterable[object]) -> str:
    return ",".join(map(str, values))
