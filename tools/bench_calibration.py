"""INT8 calibration by EdgeYOLO, ONNX Runtime, NNCF and ModelOpt, side by side: time, memory, accuracy.

Every tool gets the same float model, the same pictures through the same preprocess, and the same question:
symmetric int8, weights per channel, in Q/DQ form. Each runs in a process of its own, so that its peak memory
is its own; a tool that needs an environment of its own gets one with ``--python nncf=ENV/bin/python``. Every
result is judged alike: ONNX Runtime with its fusions off, so that each Q/DQ pair rounds as written, boxes by
the project's own detector, mAP by the project's own evaluation.

    python tools/bench_calibration.py MODEL.onnx CALIBRATION_IMAGES --images DIR --annotations COCO.json

What is asked of the others is what their documentation recommends, with the settings that TensorRT needs.
NNCF gives what depthwise convolutions read one scale a channel, which TensorRT does not load;
``nncf-tensor`` has one a tensor. (Its picture is uint8 in both; int8 cannot be forced.)
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))  # an environment of its own has no EdgeYOLO installed

TOOLS = (
    "ours-auto", "ours-entropy", "ours-mse", "ours-percentile", "ours-minmax",
    "ort-minmax", "ort-entropy", "ort-percentile", "nncf", "nncf-tensor", "modelopt-max", "modelopt-entropy",
)  # fmt: skip
FUSED_OPS = ["Conv", "Gemm", "MatMul"]


def main() -> None:
    arguments = _arguments()
    if arguments.child:
        _child(arguments)
        return
    pythons = dict(item.split("=", 1) for item in arguments.python)
    rows = [_judge("fp32", Path(arguments.model), {}, arguments)]
    _print(rows[0])
    for tool in arguments.tools.split(","):
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder, "int8.onnx")
            said = _run_child(tool, output, pythons.get(tool.split("-")[0], sys.executable), arguments)
            rows.append(
                _judge(tool, output, said, arguments) if "error" not in said else {"tool": tool, **said}
            )
            _print(rows[-1])
    if arguments.json:
        print(json.dumps(rows))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="float ONNX model with EdgeYOLO's metadata")
    parser.add_argument("calibration", help="pictures to calibrate with, as for edgeyolo calibrate")
    parser.add_argument("--images", help="labelled pictures")
    parser.add_argument("--annotations", help="their COCO file")
    parser.add_argument("--limit", type=int, default=None, help="calibrate with so many pictures")
    parser.add_argument("--tools", default=",".join(TOOLS), help="which, with commas")
    parser.add_argument(
        "--python", action="append", default=[], metavar="TOOL=PATH", help="interpreter of a tool"
    )
    parser.add_argument("--json", action="store_true", help="print all rows as JSON at the end")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--output", help=argparse.SUPPRESS)
    return parser.parse_args()


def _run_child(tool: str, output: Path, python: str, arguments: argparse.Namespace) -> dict[str, Any]:
    words = [
        python,
        __file__,
        arguments.model,
        arguments.calibration,
        "--child",
        tool,
        "--output",
        str(output),
    ]
    if arguments.limit:
        words += ["--limit", str(arguments.limit)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return {"error": lines[-1][:100] if lines else f"exit {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])


def _child(arguments: argparse.Namespace) -> None:
    """Calibrate with one tool; time without imports and without the check of the pictures."""
    kind, _, method = arguments.child.partition("-")
    calibrate = {"ours": _ours, "ort": _ort, "nncf": _nncf, "modelopt": _modelopt}[kind]
    if kind == "ours":
        work = calibrate(arguments, method)
    else:
        work = calibrate(arguments.model, _feed(arguments), method, Path(arguments.output))
    start = time.perf_counter()
    version = work()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mib": peak, "version": version}))


def _feed(arguments: argparse.Namespace) -> Any:
    import onnx

    from edgeyolo.calibrate.check import check
    from edgeyolo.calibrate.feed import Feed
    from edgeyolo.calibrate.gather import gather
    from edgeyolo.spec import ModelSpec

    model = onnx.load(arguments.model, load_external_data=False)
    spec = ModelSpec.from_metadata({entry.key: entry.value for entry in model.metadata_props})
    if spec is None:
        sys.exit(f"{arguments.model}: EdgeYOLO's metadata expected, none found")
    manifest = check(gather(arguments.calibration), limit=arguments.limit).manifest
    feed = Feed(manifest, spec.preprocess, spec.input_wh)
    feed.input_name = spec.input_name  # type: ignore[attr-defined]
    return feed


def _ours(arguments: argparse.Namespace, method: str) -> Callable[[], str]:
    from edgeyolo import __version__
    from edgeyolo.pipeline.calibrate import calibrate
    from edgeyolo.pipeline.calibration import CalibrateConfig

    def work() -> str:
        with tempfile.TemporaryDirectory() as folder:
            config = CalibrateConfig(
                model=Path(arguments.model),
                images=arguments.calibration,
                output=Path(folder, "out"),
                method=method,
                limit=arguments.limit,
            )
            calibrate(config)
            Path(folder, "out", "model.int8.onnx").replace(arguments.output)
        return __version__

    return work


def _ort(model: str, feed: Any, method: str, output: Path) -> Callable[[], str]:
    import onnxruntime
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter(feed)

        def get_next(self) -> Any:
            batch = next(self.batches, None)
            return None if batch is None else {feed.input_name: batch}

    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }

    def work() -> str:
        quantize_static(
            model,
            str(output),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=methods[method],
            # The settings that its documentation gives for TensorRT.
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "AddQDQPairToWeight": True,
            },
        )
        return onnxruntime.__version__

    return work


def _nncf(model: str, feed: Any, method: str, output: Path) -> Callable[[], str]:
    import nncf
    import onnx
    from nncf.quantization.advanced_parameters import (
        AdvancedQuantizationParameters,
        QuantizationParameters,
    )

    one_scale = QuantizationParameters(per_channel=False)
    advanced = AdvancedQuantizationParameters(activations_quantization_params=one_scale)

    def work() -> str:
        data = nncf.Dataset(feed, lambda batch: {feed.input_name: batch})
        done = nncf.quantize(
            onnx.load(model),
            data,
            preset=nncf.QuantizationPreset.PERFORMANCE,  # symmetric: what TensorRT loads
            target_device=nncf.TargetDevice.ANY,
            subset_size=len(feed.manifest),
            advanced_parameters=advanced if method == "tensor" else None,
        )
        onnx.save(done, output)
        return str(nncf.__version__)

    return work


def _modelopt(model: str, feed: Any, method: str, output: Path) -> Callable[[], str]:
    import modelopt
    import numpy as np
    from modelopt.onnx.quantization import quantize

    def work() -> str:
        quantize(
            model,
            quantize_mode="int8",
            calibration_data={feed.input_name: np.concatenate(list(feed))},
            calibration_method=method,
            output_path=str(output),
            high_precision_dtype="fp32",
        )
        return str(modelopt.__version__)

    return work


def _judge(tool: str, model: Path, said: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """Give the row of a tool: what it said of itself, what its model does, how right it is."""
    import onnx

    from edgeyolo.evaluate.coco import evaluate
    from edgeyolo.pipeline.evaluate import CONF, IOU
    from edgeyolo.pipeline.trial import TrialEngine
    from edgeyolo.runtime import Detector
    from edgeyolo.spec import ModelSpec

    row: dict[str, Any] = {"tool": tool, **said}
    if not arguments.images:
        return row
    float_model = onnx.load(arguments.model, load_external_data=False)
    spec = ModelSpec.from_metadata({entry.key: entry.value for entry in float_model.metadata_props})
    assert spec is not None
    engine = TrialEngine(onnx.load(model), spec, precision="int8", fuse=False)
    detector = Detector(engine, conf=CONF, iou=IOU, multi_label=True)
    report = evaluate(detector, arguments.images, arguments.annotations, detector.names)
    return {**row, "ap": report.ap, "ap50": report.ap50, "images": report.images}


def _print(row: dict[str, Any]) -> None:
    print("  ".join(_cells(row)), flush=True)


def _cells(row: dict[str, Any]) -> Iterator[str]:
    yield f"{row['tool']:<16}"
    if "error" in row:
        yield f"not measured: {row['error']}"
        return
    if "ap" in row:
        yield f"AP {row['ap']:.4f}  AP50 {row['ap50']:.4f}"
    if "seconds" in row:
        yield f"{row['seconds']:7.1f} s  {row['peak_mib']:7.0f} MiB  {row['version']}"


if __name__ == "__main__":
    main()
