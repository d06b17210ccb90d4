"""TensorRT's builder configuration: precision, memory, accelerator, and every flag by a feature test.

Owns the translation of what was asked into flags that the running release has. What it does not have is
refused, never left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeyolo.boards import require_dla
from edgeyolo.build.trt_network import Network, layers_of_nodes
from edgeyolo.build.trt_options import TensorRTOptions
from edgeyolo.errors import BuildError, ConfigError, PrecisionError
from edgeyolo.jetson import Memory
from edgeyolo.spec import Precision

if TYPE_CHECKING:
    import tensorrt

__all__ = ["configure", "place_on_dla", "workspace_mib"]

# Of the memory that is free, the part a tactic may take. TensorRT needs about the network's size again beside
# it, the system the rest; a choice, not measured on a board. Free swap lets other processes move out of the
# way, the GPU itself cannot use it: a quarter of it counts.
_PART_OF_FREE, _PART_OF_SWAP = 0.5, 0.25
_LEAST_WORKSPACE_MIB = 64


def workspace_mib(memory: Memory) -> tuple[int, str]:
    """Choose the workspace limit on a GPU that shares its memory.

    Returns:
        MiB, and a clause that says how it came about.

    Examples:
        >>> workspace_mib(Memory(total_mib=7620, available_mib=5000, swap_free_mib=4000))
        (3500, 'half of 5000 MiB free and a quarter of 4000 MiB swap')
    """
    usable = _PART_OF_FREE * memory.available_mib + _PART_OF_SWAP * memory.swap_free_mib
    chosen = int(min(usable, _PART_OF_FREE * memory.total_mib))
    words = f"half of {memory.available_mib} MiB free"
    if memory.swap_free_mib:
        words += f" and a quarter of {memory.swap_free_mib} MiB swap"
    return max(chosen, _LEAST_WORKSPACE_MIB), words


def configure(
    trt: Any,
    network: Network,
    config: tensorrt.IBuilderConfig,
    options: TensorRTOptions,
    precision: Precision,
    limit_mib: int | None,
) -> None:
    """Set every flag and limit but profiles, cache and monitor.

    Args:
        trt: The module ``tensorrt``.
        network: The parsed network.
        config: TensorRT's builder configuration.
        options: What was asked for.
        precision: What was asked for.
        limit_mib: Workspace; None leaves TensorRT's own limit, the GPU's whole memory.

    Raises:
        ConfigError: This release lacks something that was asked for.
        PrecisionError: It cannot deliver the precision.
    """
    if limit_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, limit_mib << 20)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # the sidecar says each layer's precision
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if options.sparse:
        _set_flag(trt, config, "SPARSE_WEIGHTS", "--sparse")
    if options.version_compatible:
        _set_flag(trt, config, "VERSION_COMPATIBLE", "--version-compatible")
    if precision == "fp32":
        config.clear_flag(trt.BuilderFlag.TF32)  # TF32 has the mantissa of FP16: not what was asked for
    elif not network.strongly_typed:
        _set_precision_flags(trt, network, config, options, precision)


def _set_precision_flags(
    trt: Any,
    network: Network,
    config: tensorrt.IBuilderConfig,
    options: TensorRTOptions,
    precision: Precision,
) -> None:
    """Allow the precisions of a weakly typed network, and hold the decode in FP32."""
    _set_flag(trt, config, "FP16", "--precision fp16")
    if precision == "int8":
        _set_flag(trt, config, "INT8", "--precision int8")
    kept = list(layers_of_nodes(network.network, options.decode))
    for layer in kept:
        layer.precision = trt.DataType.FLOAT
        for output in range(layer.num_outputs):  # else what it computed in FP32 may be stored as FP16
            layer.set_output_type(output, trt.DataType.FLOAT)
    if kept:
        _set_flag(trt, config, "OBEY_PRECISION_CONSTRAINTS", "FP32 for the decode")


def place_on_dla(
    trt: Any,
    network: Network,
    config: tensorrt.IBuilderConfig,
    options: TensorRTOptions,
    precision: Precision,
    where: str,
) -> tuple[str, ...]:
    """Put the network on a DLA core.

    Args:
        trt: The module ``tensorrt``.
        network: The parsed network.
        config: TensorRT's builder configuration.
        options: With a `TensorRTOptions.dla_core`.
        precision: What was asked for.
        where: The GPU or the board, for messages.

    Returns:
        Names of the layers that will run on the GPU.

    Raises:
        ConfigError: There is no such core.
        PrecisionError: DLA does not compute in that precision.
        BuildError: Layers cannot run there and `gpu_fallback` was not given; the message names them.
    """
    assert options.dla_core is not None
    require_dla(network.builder.num_DLA_cores, options.dla_core, precision=precision, where=where)
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = options.dla_core
    layers = [network.network.get_layer(index) for index in range(network.network.num_layers)]
    away = tuple(layer.name for layer in layers if not config.can_run_on_DLA(layer))
    if options.gpu_fallback:
        _set_flag(trt, config, "GPU_FALLBACK", "--gpu-fallback")
    elif away:
        shown = ", ".join(away[:6]) + (f" and {len(away) - 6} more" if len(away) > 6 else "")
        raise BuildError(
            f"{len(away)} of {len(layers)} layers cannot run on DLA: {shown}",
            hint="add --gpu-fallback; convert --outputs raw leaves the decode to the processor",
        )
    return away


def _set_flag(trt: Any, config: tensorrt.IBuilderConfig, name: str, asked: str) -> None:
    flag = getattr(trt.BuilderFlag, name, None)
    if flag is None:
        kind = PrecisionError if asked.startswith("--precision") else ConfigError
        raise kind(f"{asked}: TensorRT {trt.__version__} has no builder flag {name}")
    config.set_flag(flag)
