"""What a build measured, to be used again by the same release on the same GPU."""

from __future__ import annotations

import json
from typing import Any

from tests.sim.tensorrt.basics import host_memory

__all__ = ["TimingCache"]

_MAGIC = "SIMTRT-TIMING"


class TimingCache:
    """`ITimingCache`: which tactics were measured, by version and GPU."""

    _simulation: Any
    _content: dict[str, Any]
    _logger: Any

    def serialize(self) -> Any:
        return host_memory(self._simulation, json.dumps(self._content).encode())

    def combine(self, input_cache: Any, ignore_mismatch: bool) -> bool:
        fits = input_cache._content["gpu"] == self._content["gpu"]
        if not (fits or ignore_mismatch):
            self._simulation.log(
                self._logger, "ERROR", "ITimingCache::combine: the caches are of two devices"
            )
            return False
        self._content["tactics"] = sorted({*self._content["tactics"], *input_cache._content["tactics"]})
        return True

    def reset(self) -> bool:
        self._content["tactics"] = []
        return True

    @staticmethod
    def _read(data: bytes, simulation: Any) -> dict[str, Any] | None:
        """Give a cache's content: an empty one for no bytes, None for another release's."""
        version = list(simulation.version)
        if not data:
            return {"magic": _MAGIC, "version": version, "gpu": _gpu(simulation), "tactics": []}
        try:
            content: dict[str, Any] = json.loads(data)
        except ValueError:
            return None
        fits = (
            isinstance(content, dict) and content.get("magic") == _MAGIC and content.get("version") == version
        )
        return content if fits and content.keys() == {"magic", "version", "gpu", "tactics"} else None

    def _fits(self) -> bool:
        return bool(self._content["gpu"] == _gpu(self._simulation))

    def _learn(self, tactics: list[str]) -> int:
        """Take what a build measured; gives how many it did not have to."""
        known = set(self._content["tactics"])
        self._content["tactics"] = sorted(known | set(tactics))
        return len(known & set(tactics))


def _gpu(simulation: Any) -> list[Any]:
    return [simulation.board.name, *simulation.compute_capability]
