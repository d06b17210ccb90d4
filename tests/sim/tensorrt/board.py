"""What the simulated TensorRT believes to run on."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BOARDS", "Board"]


@dataclass(frozen=True, kw_only=True)
class Board:
    """A machine.

    Args:
        name: Of the GPU.
        compute_capability: Its SM, (major, minor).
        dla_cores: How many it has.
        jetson: Whether it runs JetPack, where hardware compatibility levels are not supported.
    """

    name: str
    compute_capability: tuple[int, int]
    dla_cores: int = 0
    jetson: bool = True

    @property
    def fast_fp16(self) -> bool:
        """Whether half precision is faster than single (TensorRT support matrix: 5.3, 6.0, 6.2, 7.0 on)."""
        return self.compute_capability >= (7, 0) or self.compute_capability in ((5, 3), (6, 0), (6, 2))

    @property
    def fast_int8(self) -> bool:
        """Whether there is dp4a or better (6.1 and 7.0 on; neither the Nano nor the TX2)."""
        return self.compute_capability >= (7, 0) or self.compute_capability == (6, 1)

    @property
    def tf32(self) -> bool:
        """Whether there are TF32 tensor cores (8.0 on)."""
        return self.compute_capability >= (8, 0)


BOARDS = {
    "nano": Board(name="NVIDIA Tegra X1", compute_capability=(5, 3)),
    "tx2": Board(name="NVIDIA Tegra X2", compute_capability=(6, 2)),
    "xavier-nx": Board(name="Xavier", compute_capability=(7, 2), dla_cores=2),
    "orin-nano": Board(name="Orin", compute_capability=(8, 7)),
    "orin-nx": Board(name="Orin", compute_capability=(8, 7), dla_cores=2),
    "agx-orin": Board(name="Orin", compute_capability=(8, 7), dla_cores=2),
    "thor": Board(name="NVIDIA Thor", compute_capability=(11, 0)),
    "rtx-4090": Board(name="NVIDIA GeForce RTX 4090", compute_capability=(8, 9), jetson=False),
}
