"""Optimisation profiles: for which batch sizes an engine is built.

Owns the three numbers and their entry into TensorRT's configuration. Refuses dynamic heights and
widths: a YOLO is built for one input size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeyolo.build.trt_log import BuildLog
from edgeyolo.build.trt_network import Network
from edgeyolo.errors import BuildError, ConfigError, GraphError
from edgeyolo.spec import TensorSpec

if TYPE_CHECKING:
    import tensorrt

__all__ = ["Batches", "add_profile"]


@dataclass(frozen=True)
class Batches:
    """Batch sizes of a dynamic model.

    Args:
        least: The smallest that will be run.
        best: The one that kernels are chosen for.
        most: The largest that will be run; memory is laid out for it.

    Examples:
        >>> Batches.parse("1,2,8")
        Batches(least=1, best=2, most=8)
        >>> Batches.parse("4")
        Batches(least=4, best=4, most=4)
    """

    least: int
    best: int
    most: int

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.best <= self.most:
            raise ConfigError(
                f"batch sizes 1 <= MIN <= OPT <= MAX expected, {self.least},{self.best},{self.most} found",
                hint="such as --batches 1,1,4",
            )

    @classmethod
    def parse(cls, text: str) -> Batches:
        """Read ``MIN,OPT,MAX`` or one number for all three.

        Raises:
            ConfigError: It is neither.
        """
        try:
            numbers = [int(part) for part in text.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) not in (1, 3):
            raise ConfigError(
                f"batch sizes: MIN,OPT,MAX or one number expected, {text!r} found", hint="such as 1,1,4"
            )
        return cls(*(numbers * 3 if len(numbers) == 1 else numbers))

    def json(self) -> dict[str, int]:
        """Give what a sidecar keeps."""
        return {"min": self.least, "opt": self.best, "max": self.most}


def add_profile(
    network: Network, config: tensorrt.IBuilderConfig, batches: Batches | None, log: BuildLog
) -> Batches | None:
    """Add the profile that a network with an open batch needs.

    Args:
        network: A parsed network.
        config: TensorRT's builder configuration.
        batches: For an open batch; None stands for 1, 1, 1.
        log: What TensorRT says.

    Returns:
        The profile, or None where every shape is fixed.

    Raises:
        GraphError: Another dimension than the batch is open, or `batches` do not fit a fixed batch.
        BuildError: TensorRT refuses the profile.
    """
    opened = [tensor for tensor in network.inputs if -1 in tensor.shape]
    if not opened:
        _check_fixed(network.inputs, batches)
        return None
    batches = batches or Batches(1, 1, 1)
    profile = log.made(network.builder.create_optimization_profile(), "optimisation profile")
    for tensor in opened:
        batch, *rest = tensor.shape
        if batch != -1 or -1 in rest:
            raise GraphError(
                f"input {tensor.name!r} {list(tensor.shape)}: only the batch may be open",
                hint="export it with a fixed height and width",
            )
        profile.set_shape(
            tensor.name, *((size, *rest) for size in (batches.least, batches.best, batches.most))
        )
    if config.add_optimization_profile(profile) < 0:
        raise BuildError(f"TensorRT refuses the profile of batch sizes {batches.json()}:\n{log.last()}")
    return batches


def _check_fixed(inputs: tuple[TensorSpec, ...], batches: Batches | None) -> None:
    fixed = inputs[0].shape[0] if inputs and inputs[0].shape else 1
    if batches is not None and (batches.least, batches.most) != (fixed, fixed):
        raise GraphError(
            f"batch sizes {batches.json()} were asked for; this model has the fixed batch {fixed}",
            hint="edgeyolo convert CFG WEIGHTS -o OUT.onnx --batch dynamic",
        )
