"""What calibration leaves: scales, a TensorRT cache, a manifest, as facts and lines for ``edgeyolo inspect``.

Owns the facts of these three kinds; recognising them is here too, because only their content tells. Refuses
to judge whether the scales are good ones.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeyolo.calibrate.manifest import is_manifest, read_manifest
from edgeyolo.calibrate.trt_cache import is_trt_cache, read_trt_cache
from edgeyolo.scales import read_scales

__all__ = ["facts_of_calibration", "lines_of_cache", "lines_of_manifest", "lines_of_scales"]

_MANY = 12


def facts_of_calibration(path: Path, head: bytes) -> dict[str, Any] | None:
    """Tell a scales file, a calibration cache or a manifest.

    Args:
        path: The file.
        head: Its first bytes, a few thousand.

    Returns:
        Plain JSON values; None where it is none of them.

    Raises:
        CalibrationError: It is one of them, and broken.
    """
    if is_trt_cache(head):
        return _cache(path)
    if head.lstrip().startswith(b"{") and b'"manifest_sha256"' in head:
        return _scales(path)
    if is_manifest(head.decode("utf-8", "replace")):
        return _manifest(path)
    return None


def _cache(path: Path) -> dict[str, Any]:
    cache = read_trt_cache(path)
    return {
        "kind": "trt_cache",
        "name": str(path),
        "what": "a TensorRT calibration cache",
        "tensorrt": cache.release,
        "version": cache.version,
        "algorithm": cache.algorithm,
        "tensors": {name: {"scale": scale, "amax": cache.amax[name]} for name, scale in cache.scales.items()},
    }


def _scales(path: Path) -> dict[str, Any]:
    scales = read_scales(path)
    return {"kind": "scales", "name": str(path), "what": "INT8 scales", **dataclasses.asdict(scales)}


def _manifest(path: Path) -> dict[str, Any]:
    manifest = read_manifest(path)
    return {
        "kind": "manifest",
        "name": str(path),
        "what": "a manifest of calibration pictures",
        "pictures": len(manifest),
        "video_frames": sum(item.frame >= 0 for item in manifest.items),
        "manifest_sha256": manifest.fingerprint,
        "names": [item.name for item in manifest.items],
    }


def lines_of_manifest(facts: Mapping[str, Any]) -> Iterator[str]:
    """Lay out the facts of a manifest."""
    frames = facts["video_frames"]
    yield f"pictures     {facts['pictures']}" + (f", {frames} of them frames of videos" if frames else "")
    yield f"manifest     sha256 {facts['manifest_sha256']}, as the scales made from them name it"
    yield from _first_of([f"picture      {name}" for name in facts["names"]])


def lines_of_cache(facts: Mapping[str, Any]) -> Iterator[str]:
    """Lay out the facts of a cache."""
    tensors = facts["tensors"]
    dead = [name for name, entry in tensors.items() if entry["scale"] == 0]
    shared = len(tensors) - len({entry["scale"] for entry in tensors.values()})
    yield f"written by   TensorRT {facts['tensorrt']} ({facts['version']}), {facts['algorithm']}"
    yield f"tensors      {len(tensors)}, {shared} with the scale of another (TensorRT 11 reads no cache)"
    if dead:
        yield f"dead         {len(dead)} with scale 0: {', '.join(dead[:_MANY])}"
    yield from _amax_lines({name: entry["amax"] for name, entry in tensors.items()})


def lines_of_scales(facts: Mapping[str, Any]) -> Iterator[str]:
    """Lay out the facts of a scales file."""
    made = facts["provenance"]
    yield f"method       {made['method']}, {made['images']} picture{'s' * (made['images'] != 1)}"
    for key in ("model", "preprocess", "manifest"):
        yield f"{key:12} sha256 {made[key + '_sha256'] or 'none: the scales were not made from pictures'}"
    yield from (f"versions     {name}: {value}" for name, value in made["versions"].items())
    methods = Counter(entry["method"] for entry in facts["tensors"].values())
    chosen = ", ".join(f"{count} by {method}" for method, count in methods.most_common())
    yield f"tensors      {len(facts['tensors'])}: {chosen}"
    for key, words in (
        ("weight_amax", "layers with weights of a range of their own"),
        ("weight_steps", "layers with fitted weights"),
        ("channel_factors", "tensors equalised across layers"),
        ("offsets", "tensors rounded around an offset"),
        ("bias_shift", "layers with a fitted bias"),
    ):
        if facts[key]:
            yield f"{key:12} {len(facts[key])} {words}"
    for name, why in facts["float_layers"].items():
        yield f"float        {name}: {why}"
    for name, why in facts["int8_on_onnxruntime"].items():
        yield f"INT8         on ONNX Runtime, {name}: {why}"
    yield from _amax_lines({name: entry["amax"] for name, entry in facts["tensors"].items()})


def _amax_lines(amax: Mapping[str, float]) -> Iterator[str]:
    yield from _first_of([f"amax         {value:<12.6g} {name}" for name, value in amax.items()])


def _first_of(lines: Sequence[str]) -> Iterator[str]:
    yield from lines[:_MANY]
    if len(lines) > _MANY:
        yield f"             and {len(lines) - _MANY} more: --json has all"
