"""The simulator's plan: a header of facts and the ONNX it runs.

Owns the bytes. A real plan holds kernels, this one the graph: FP16 and INT8 arithmetic is not simulated, the
ONNX runs as it is. Says what the real library says of a plan that is cut short, of another release or of
another GPU, as far as that is known.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Plan", "PlanError"]

_MAGIC = b"SIMTRTPL"
_HEAD = struct.Struct("<8sQQ32s")  # magic, bytes of facts, bytes of ONNX, SHA-256 of both


class PlanError(ValueError):
    """A plan that this library on this machine does not take."""


@dataclass(frozen=True)
class Plan:
    """What was built.

    Args:
        facts: ``version``, ``gpu``, ``compute_capability``, ``profiles``, ``layers``, ...
        onnx: The model.
    """

    facts: Mapping[str, Any]
    onnx: bytes

    def to_bytes(self) -> bytes:
        """Give the plan."""
        facts = json.dumps(self.facts).encode()
        digest = hashlib.sha256(facts + self.onnx).digest()
        return _HEAD.pack(_MAGIC, len(facts), len(self.onnx), digest) + facts + self.onnx

    @classmethod
    def from_bytes(cls, data: bytes) -> Plan:
        """Read a plan.

        Raises:
            PlanError: It is none, or cut short, or changed.
        """
        if len(data) < _HEAD.size or not data.startswith(_MAGIC):
            raise PlanError(
                "Error Code 1: Serialization (Serialization assertion magicTagRead == kMAGIC_TAG failed."
                "Magic tag does not match)"
            )
        _, facts_size, onnx_size, digest = _HEAD.unpack_from(data)
        body = data[_HEAD.size :]
        if (
            len(body) < facts_size + onnx_size
            or hashlib.sha256(body[: facts_size + onnx_size]).digest() != digest
        ):
            raise PlanError(
                "Error Code 1: Serialization (Serialization assertion mSize >= bytesRead failed.)"
            )
        return cls(json.loads(body[:facts_size]), body[facts_size : facts_size + onnx_size])

    def check(self, version: tuple[int, ...], compute_capability: tuple[int, int]) -> None:
        """Refuse what was built for another library or GPU.

        Args:
            version: Of the library that runs.
            compute_capability: Of the GPU it runs on.

        Raises:
            PlanError: The text is the real library's.
        """
        built = tuple(self.facts["version"])
        if built != version and not (self.facts["version_compatible"] and _within(built, version)):
            raise PlanError(
                "Error Code 6: API Usage Error (The engine plan file is not compatible with this version "
                f"of TensorRT, expecting library version {_dotted(version)} got {_dotted(built)}, "
                "please rebuild.)"
            )
        gpu, here = tuple(self.facts["compute_capability"]), compute_capability
        portable = {"AMPERE_PLUS": here >= (8, 0), "SAME_COMPUTE_CAPABILITY": here == gpu}
        if gpu != here and not portable.get(self.facts["hardware_compatibility_level"], False):
            raise PlanError(
                "Error Code 6: API Usage Error (The engine plan file is generated on an incompatible device, "
                f"expecting compute {_dotted(here)} got compute {_dotted(gpu)}, please rebuild.)"
            )


def _within(built: tuple[int, ...], runs: tuple[int, ...]) -> bool:
    """Whether version compatibility reaches: forward, at most one major (8 to 10, 10 to 11, not 8 to 11)."""
    return built <= runs and (built[0], runs[0]) in {(8, 8), (8, 10), (10, 10), (10, 11), (11, 11)}


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
