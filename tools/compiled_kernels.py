"""Which kernels NVIDIA's compiler makes of a model, with no GPU: by the names in TensorRT-RTX's plan.

    python tools/compiled_kernels.py MODEL.onnx...

A generated kernel has the names of all that it computes, ``MulAddSiluAddMulMinMaxRounCast`` for instance:
scale, bias, SiLU, offset, and the rounding for the next layer. So two forms of a network can be told apart by
what each costs in kernels. How long they take, and what another TensorRT fuses, only a board says.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

_KERNEL = re.compile(rb'\n\s*(?:function|corrltn)=\{ name="?(?:__myl_)?([A-Za-z0-9_]+)')


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for path in sys.argv[1:]:
        kernels = kernels_of(Path(path).read_bytes())
        print(f"{path}: {sum(kernels.values())} kernels")
        for name, count in kernels.most_common():
            print(f"{count:6} {name}")


def kernels_of(model: bytes) -> Counter[str]:
    """Compile for compute capability 8.6 (Orin has 8.7) and count the kernels by name, numbers left out."""
    import tensorrt_rtx as trt

    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, trt.Logger(trt.Logger.ERROR))
    if not parser.parse(model):
        sys.exit(str(parser.get_error(0)))
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        sys.exit("TensorRT-RTX does not compile it; edgeyolo check says why")
    return Counter(re.sub(r"\d+", "", name.decode()) for name in _KERNEL.findall(bytes(plan)))


if __name__ == "__main__":
    main()
