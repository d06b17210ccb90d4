"""How a layer class reads its section: typed options, absolute layer indexes, errors with their line.

Owns the turning of option text into numbers, words and indexes, and the memory of which options were read.
Refuses to know any section kind.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypedDict

from edgeyolo.darknet.cfg import Option, Section
from edgeyolo.darknet.layers.base import Activation, Layer, Shape
from edgeyolo.errors import CfgError, UnsupportedOpError

__all__ = ["Here", "SectionReader"]

_INT = re.compile(r"[+-]?\d{1,40}(\.0*)?", re.ASCII)
_FLOAT = re.compile(r"[+-]?(\d{1,30}\.?\d{0,30}|\.\d{1,30})([eE][+-]?\d{1,3})?", re.ASCII)
_INT32_MAX = 2**31 - 1
_ACTIVATION_ALIASES = {"silu": "swish"}


class Here(TypedDict):
    """The first fields of every layer."""

    index: int
    line: int
    inputs: tuple[int, ...]
    in_shapes: tuple[Shape, ...]


class SectionReader:
    """One section, and what lies before it.

    Args:
        section: The section.
        source: The cfg, for messages.
        input_shape: Of the network.
        layers: All layers before this one.
    """

    def __init__(self, section: Section, *, source: str, input_shape: Shape, layers: Sequence[Layer]) -> None:
        self.kind = section.kind[:40]
        self.line = section.line
        self.source = source
        self.input_shape = input_shape
        self.layers = layers
        self.index = len(layers)
        self._options = {option.key: option for option in section.options}
        self._read: set[str] = set()

    @property
    def in_shape(self) -> Shape:
        """Output of the layer before, or the network input."""
        return self.shape_of(self.index - 1)

    def shape_of(self, index: int) -> Shape:
        """Give the output shape of a layer; -1 is the network input."""
        return self.layers[index].out_shape if index >= 0 else self.input_shape

    def here(self, *others: int) -> Here:
        """Give the first fields of a layer that reads the previous layer and then `others`."""
        return self.at(self.index - 1, *others)

    def at(self, *inputs: int) -> Here:
        """Give the first fields of a layer that reads exactly `inputs`."""
        shapes = tuple(self.shape_of(index) for index in inputs)
        return Here(index=self.index, line=self.line, inputs=inputs, in_shapes=shapes)

    def text(self, key: str) -> str | None:
        """Give the text of an option, or None where it is absent."""
        option = self._find(key)
        return option.value if option else None

    def integer(self, key: str, default: int, *, at_least: int | None = None) -> int:
        """Give an integer option.

        Raises:
            CfgError: It is no 32-bit integer or below `at_least`.
        """
        option = self._find(key)
        if option is None:
            return default
        value = self._integer(option, option.value)
        if at_least is not None and value < at_least:
            raise self.error(f"{key} of at least {at_least} expected, {value} found", key)
        return value

    def flag(self, key: str) -> bool:
        """Give a 0/1 option; absent is 0, any other number is 1, as in Darknet."""
        return self.number(key, 0.0) != 0

    def number(self, key: str, default: float) -> float:
        """Give a real option.

        Raises:
            CfgError: It is no finite number.
        """
        option = self._find(key)
        return default if option is None else self._number(option, option.value)

    def integers(self, key: str) -> tuple[int, ...] | None:
        """Give a comma-separated list of integers, or None where it is absent."""
        option = self._find(key)
        return None if option is None else tuple(self._integer(option, item) for item in self._items(option))

    def numbers(self, key: str) -> tuple[float, ...] | None:
        """Give a comma-separated list of reals, or None where it is absent."""
        option = self._find(key)
        return None if option is None else tuple(self._number(option, item) for item in self._items(option))

    def activation(self, default: Activation) -> Activation:
        """Give the ``activation`` option.

        Raises:
            UnsupportedOpError: It is none that EdgeYOLO computes. (Darknet would take ReLU instead, in
            silence.)
        """
        word = self.text("activation")
        if word is None:
            return default
        try:
            return Activation(_ACTIVATION_ALIASES.get(word, word))
        except ValueError:
            known = [activation.value for activation in Activation]
            raise self.unsupported(
                f"activation={word[:40]} is not supported",
                key="activation",
                hint=f"{_did_you_mean(word, known)}the supported ones are {', '.join(known)}",
            ) from None

    def one_of(self, key: str, default: str, allowed: Sequence[str]) -> str:
        """Give a word option.

        Raises:
            CfgError: It is none of `allowed`.
        """
        word = self.text(key)
        if word is None:
            return default
        if word not in allowed:
            raise self.error(f"{key}: one of {', '.join(allowed)} expected, {word[:40]!r} found", key)
        return word

    def layer_indexes(self, key: str) -> tuple[int, ...]:
        """Give the layers that an option names, absolute; negative numbers count back from this layer.

        Raises:
            CfgError: The option is absent, or a layer is not before this one.
        """
        relative = self.integers(key)
        if not relative:
            raise self.error(f"{key}=... expected (the layers to read), none found", key)
        return tuple(self._layer_index(key, number) for number in relative)

    def refuse(self, reasons: Mapping[str, str]) -> None:
        """Refuse options by name where they are switched on.

        Args:
            reasons: Option to what it does.

        Raises:
            UnsupportedOpError: One of them is there and not 0.
        """
        for key, reason in reasons.items():
            if self.number(key, 0.0) != 0:
                raise self.unsupported(f"{key}={self.text(key)} is not supported: {reason}", key=key)

    def error(self, message: str, key: str | None = None, *, hint: str | None = None) -> CfgError:
        """Make an error at the line of an option, or of the section where it is absent."""
        return CfgError(f"[{self.kind}] {message}", path=self.source, line=self._line_of(key), hint=hint)

    def unsupported(
        self, message: str, *, key: str | None = None, hint: str | None = None
    ) -> UnsupportedOpError:
        """Make a refusal at the line of an option, or of the section where it is absent."""
        return UnsupportedOpError(f"{self.source}:{self._line_of(key)}: [{self.kind}] {message}", hint=hint)

    def unread(self, ignored: frozenset[str]) -> Iterator[str]:
        """Tell, one by one, of each option that nothing read and that is not in `ignored`.

        Source:
            Darknet ``option_unused`` (src/option_list.c).
        """
        known = sorted(self._read | ignored)
        for key, option in self._options.items():
            if key not in self._read and key not in ignored:
                close = _did_you_mean(key, known, lead="; ").rstrip()
                where = f"{self.source}:{option.line}: [{self.kind}]"
                yield f"{where} {key[:40]} is no option that EdgeYOLO knows, and was not used{close}"

    def _find(self, key: str) -> Option | None:
        self._read.add(key)
        return self._options.get(key)

    def _line_of(self, key: str | None) -> int:
        option = self._options.get(key) if key else None
        return option.line if option else self.line

    def _items(self, option: Option) -> list[str]:
        # One comma at the end is common in cfgs that were edited by hand, and harmless in Darknet.
        return option.value.removesuffix(",").split(",")

    def _integer(self, option: Option, text: str) -> int:
        if not _INT.fullmatch(text):
            raise self.error(f"{option.key}: an integer expected, {text[:40]!r} found", option.key)
        value = int(text.split(".")[0])
        if abs(value) > _INT32_MAX:
            raise self.error(f"{option.key}: a 32-bit integer expected, {text[:40]} found", option.key)
        return value

    def _number(self, option: Option, text: str) -> float:
        value = float(text) if _FLOAT.fullmatch(text) else math.nan
        if not math.isfinite(value):
            raise self.error(f"{option.key}: a number expected, {text[:40]!r} found", option.key)
        return value

    def _layer_index(self, key: str, number: int) -> int:
        index = number if number >= 0 else self.index + number
        if not 0 <= index < self.index:
            raise self.error(
                f"{key}={number} points to layer {index}; one before this layer, {self.index}, expected",
                key,
                hint="layers count from 0 after [net]; a negative number counts back from this layer",
            )
        return index


def _did_you_mean(word: str, known: Sequence[str], lead: str = "") -> str:
    # difflib takes quadratic time; nobody misspells `stride` with more letters than this.
    close = difflib.get_close_matches(word[:40], known, n=1)
    return f"{lead}did you mean {close[0]}? " if close else ""
