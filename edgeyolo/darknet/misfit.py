"""What a ``.weights`` file that does not fit its cfg may be, told from its length and its first bytes.

Owns the guesses and the words for them. Refuses to load anything: a file that does not fit is never used.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgeyolo.darknet.layers import Connected, Convolutional, Detection, Layer, Softmax
from edgeyolo.darknet.network import Network
from edgeyolo.errors import WeightsError

__all__ = ["classes_that_fit", "explain_misfit", "what_else"]

_MAX_CLASSES = 100_000
_SIGNATURES = (
    (b"version https://git-lfs", "a Git LFS pointer", "git lfs pull"),
    (b"<!doctype", "a web page", "download the raw file, not the page that shows it"),
    (b"<html", "a web page", "download the raw file, not the page that shows it"),
    (b"<?xml", "an XML answer of a server", "download the file again"),
    (b"pk\x03\x04", "a zip archive (or a PyTorch .pt file)", "unpack it, or give the .weights file"),
    (b"\x1f\x8b", "a gzip archive", "gunzip it"),
    (b"\x80\x02", "a pickled PyTorch file", "give the .weights file; Darknet reads nothing else"),
    (b"\x89hdf", "a Keras .h5 file", "give the .weights file; Darknet reads nothing else"),
    (b"[net]", "a cfg", "give the cfg first and the weights second"),
)


def what_else(head: bytes) -> tuple[str, str] | None:
    r"""Tell from the first bytes what a file is instead of weights.

    Returns:
        What it is and what to do about it, or None where it may be weights.

    Examples:
        >>> what_else(b"\n<!DOCTYPE html>")[0], what_else(bytes(20))
        ('a web page', None)
    """
    if not head:
        return "an empty file", "download it again"
    start = head.lstrip().lower()
    for signature, what, hint in _SIGNATURES:
        if start.startswith(signature):
            return what, hint
    return None


def explain_misfit(network: Network, path: Path | str, found: int) -> WeightsError:
    """Make the error for a file of the wrong length.

    Args:
        network: What it was to fit.
        path: The file.
        found: Floats in it.

    Returns:
        An error that names the layer where the file ends, or what is left over, and the likely cause.
    """
    wanted = network.parameter_count
    if found > wanted:
        story = f"{found - wanted} floats are left over after the last layer"
    else:
        layer, left = _where_it_ends(network, found)
        story = (
            f"layer {layer.index} [{layer.kind}] (line {layer.line} of the cfg) wants "
            f"{layer.parameter_count} floats, {left} are left"
        )
    return WeightsError(
        f"{path}: does not fit {network.source}: {story}; {wanted} floats expected in all, {found} found",
        hint=_likely_cause(network, path, found),
    )


def _where_it_ends(network: Network, found: int) -> tuple[Layer, int]:
    left = found
    for layer in network.layers:
        if layer.parameter_count > left:
            return layer, left
        left -= layer.parameter_count
    raise AssertionError("called for a file that is long enough")


def _likely_cause(network: Network, path: Path | str, found: int) -> str:
    classes = classes_that_fit(network, found)
    if classes is not None:
        return f"set classes={classes} in every head and the filters before each to match; then the file fits"
    other = _other_architecture(path, found)
    if other is not None:
        return other
    if abs(found - network.parameter_count) == 1:
        return "write the file again: its header is of another version than it says"
    own_cfg = "give the cfg that the file was trained with"
    if found > network.parameter_count:
        return own_cfg
    layer, left = _where_it_ends(network, found)
    if left == 0 and layer.index > 0:
        return (
            f"train it first: the file ends exactly before layer {layer.index}, so it is a backbone to start "
            "from (such as darknet53.conv.74)"
        )
    share = 100 * found // network.parameter_count
    return f"download the file again (is it cut off after {share} %?), or {own_cfg}"


def classes_that_fit(network: Network, found: int) -> int | None:
    """Find the number of classes with which a network would have exactly `found` parameters.

    The filters before a head grow by one an anchor and class, so the count is linear in the classes.

    Returns:
        That number, if there is one and it is not the network's own.
    """
    slope, classes = 0, set()
    for layer, filters_a_class, own in _class_layers(network):
        if not isinstance(layer, (Convolutional, Connected)) or not layer.parameters:
            return None
        slope += filters_a_class * (layer.parameter_count // layer.out_shape.c)
        classes.add(own)
    difference = found - network.parameter_count
    if slope == 0 or len(classes) != 1 or difference == 0 or difference % slope:
        return None
    fitting = classes.pop() + difference // slope
    return fitting if 1 <= fitting <= _MAX_CLASSES else None


def _class_layers(network: Network) -> Iterator[tuple[Layer, int, int]]:
    """Give each layer whose filters follow the classes, the filters one class adds, and the classes now."""
    for head in network.heads:
        a_class = head.side**2 if isinstance(head, Detection) else len(head.anchors_wh)
        if head.inputs[0] >= 0:
            yield network.layers[head.inputs[0]], a_class, head.classes
    if any(isinstance(layer, Softmax) for layer in network.layers):
        yield from [(layer, 1, layer.out_shape.c) for layer in network.layers if layer.parameters][-1:]


def _other_architecture(path: Path | str, found: int) -> str | None:
    """Find a built-in architecture that the file fits, with its own classes or with others."""
    # Inside the function: the architectures are made of cfg and network, as this is.
    from edgeyolo.darknet.architectures import ARCHITECTURES, architecture
    from edgeyolo.darknet.network import network_from_cfg

    others = {name: network_from_cfg(architecture(name)) for name in ARCHITECTURES}
    fitting = [name for name, other in others.items() if other.parameter_count == found]
    if fitting:
        names = " or ".join(fitting)
        return f"edgeyolo convert {fitting[0]} {path} -o OUT.onnx   (the file fits {names})"
    for name, other in others.items():
        classes = classes_that_fit(other, found)
        if classes is not None:
            return f"give the cfg that the file was trained with; it fits {name} with classes={classes}"
    return None
