"""Write the public surface of NVIDIA's TensorRT bindings as JSON, one file a generation.

    python tools/dump_tensorrt_surface.py --wheels DIR tests/sim/tensorrt/surface

The wheels are NVIDIA's own and hold no library, only the Python extension. It imports on a stub that defines
the few functions it links to, which is enough to look at: nothing of TensorRT runs here. What is written
are names, kinds, enum values and signatures, no documentation text. Needs a C compiler and Python 3.11
(`tensorrt-bindings` 8.6.1 has none newer).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

# Generation -> requirement.
WHEELS = {
    "8.6": "tensorrt-bindings==8.6.1",
    "10.3": "tensorrt-cu12-bindings==10.3.0",
    "10.13": "tensorrt-cu12-bindings==10.13.3.9",
    "10.16": "tensorrt-cu12-bindings==10.16.1.11",
    "11.4": "tensorrt-cu12-bindings==11.4.0.106",
}
# Classes whose members are written; of everything else only that it exists.
CLASSES = (
    "Builder", "BuilderFlag", "CalibrationAlgoType", "DataType", "DeviceType", "Dims", "EngineCapability",
    "EngineInspector", "ErrorCode", "ExecutionContextAllocationStrategy", "HardwareCompatibilityLevel",
    "IBuilderConfig", "ICudaEngine", "IExecutionContext", "IHostMemory", "IInt8Calibrator",
    "IInt8EntropyCalibrator", "IInt8EntropyCalibrator2", "IInt8LegacyCalibrator", "IInt8MinMaxCalibrator",
    "ILayer", "ILogger", "INetworkDefinition", "IOptimizationProfile", "IOutputAllocator", "IProfiler",
    "IProgressMonitor", "ITensor", "ITimingCache", "LayerInformationFormat", "LayerType", "Logger",
    "MemoryPoolType", "NetworkDefinitionCreationFlag", "OnnxParser", "OnnxParserFlag", "ParserError",
    "Profiler", "ProfilingVerbosity", "QuantizationFlag", "Runtime", "RuntimePlatform", "Severity",
    "TacticSource", "TensorIOMode", "TensorLocation", "TempfileControlFlag", "TilingOptimizationLevel",
)  # fmt: skip
_SPECIAL = ("__init__", "__len__", "__getitem__", "__bool__", "__eq__", "__int__", "__index__", "__hash__")
_STUB = """
#define NOTHING(name) void* name(void) { return 0; }
NOTHING(createInferBuilder_INTERNAL) NOTHING(createInferRefitter_INTERNAL)
NOTHING(createInferRuntime_INTERNAL)
NOTHING(createNvOnnxParser_INTERNAL) NOTHING(createNvOnnxParserRefitter_INTERNAL)
NOTHING(getBuilderPluginRegistry) NOTHING(getPluginRegistry) NOTHING(initLibNvInferPlugins)
NOTHING(getNvOnnxParserVersion)
/* 8.6 alone: the parsers of Caffe and UFF */
NOTHING(_ZN14nvcaffeparser117createCaffeParserEv) NOTHING(_ZN14nvcaffeparser123shutdownProtobufLibraryEv)
NOTHING(_ZN11nvuffparser15createUffParserEv) NOTHING(_ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi)
"""


def surface(generation: str, wheel: Path) -> dict[str, Any]:
    """Give a wheel's surface.

    Args:
        generation: A key of `WHEELS`.
        wheel: The file.
    """
    program = f"import {Path(__file__).stem} as tool; tool.dump()"
    found = run_on_wheel(generation, wheel, program, Path(__file__))
    return {"wheel": wheel.name.split("-cp")[0], **json.loads(found)}


def run_on_wheel(generation: str, wheel: Path, program: str, beside: Path) -> str:
    """Run Python where ``tensorrt_bindings`` imports, in a process of its own; give what it prints.

    Args:
        generation: A key of `WHEELS`.
        wheel: The file.
        program: What to run.
        beside: A module it imports.
    """
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        major = generation.split(".")[0]
        (Path(folder) / "stub.c").write_text(_STUB)
        for name in ("nvinfer", "nvonnxparser", "nvinfer_plugin", "nvparsers"):
            library = f"lib{name}.so.{major}"
            subprocess.run(
                ["cc", "-shared", "-fPIC", f"-Wl,-soname,{library}", "-o", library, "stub.c"],
                cwd=folder, check=True,
            )  # fmt: skip
        environment = {**os.environ, "LD_LIBRARY_PATH": folder, "PYTHONPATH": folder}
        # Left through os._exit: the extension's destructors would call what the stub does not have.
        head, tail = f"import sys; sys.path.insert(0, {str(beside.parent)!r})", "sys.stdout.flush()"
        command = [sys.executable, "-c", f"{head}; {program}; {tail}; import os; os._exit(0)"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{wheel.name}: {done.stderr or done.returncode}")
    return done.stdout


def dump() -> None:
    """Print the surface of the `tensorrt_bindings` on the path."""
    import tensorrt_bindings as trt

    names: dict[str, Any] = {}
    for name in sorted(dir(trt)):
        value = getattr(trt, name)
        if name.startswith("_") or type(value).__name__ == "module":
            continue
        names[name] = _described(name, value)
    print(json.dumps({"version": trt.__version__, "names": names}))


def _described(name: str, value: Any) -> Any:
    if isinstance(value, type):
        return _class(value) if name in CLASSES else "class"
    if callable(value):
        return _signatures(value)
    return f"= {_clean(repr(value))}"


def _class(cls: type) -> dict[str, Any]:
    members = getattr(cls, "__members__", None)
    if members is not None:
        ordered = {"ordered": True} if "__lt__" in vars(cls) else {}
        return {"enum": {name: int(value) for name, value in members.items()}, **ordered, **_extra(cls)}
    bases = [base.__name__ for base in cls.__mro__[1:-1] if base.__name__ != "pybind11_object"]
    return {"bases": bases, **_members(cls)}


def _extra(cls: type) -> dict[str, Any]:
    """Give an enum's properties beyond pybind11's own, such as `DataType.itemsize`."""
    own = {name for name, value in vars(cls).items() if isinstance(value, property) and name[0] != "_"}
    own -= {"name", "value"}
    return {"members": {name: _property(vars(cls)[name]) for name in sorted(own)}} if own else {}


def _members(cls: type) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name in sorted(dir(cls)):
        if name.startswith("_") and name not in _SPECIAL:
            continue
        value = getattr(cls, name)
        if name.startswith("__") and value is getattr(object, name, None):
            continue
        if isinstance(value, type):
            members[name] = _class(value)
        elif isinstance(value, property):
            members[name] = _property(value)
        elif callable(value):
            members[name] = _signatures(value)
        elif value is None:
            members[name] = "none"
        else:
            members[name] = f"= {_clean(repr(value))}"
    return {"members": members}


def _property(value: property) -> str:
    """Give ``property: int`` or ``read-only property: int``, the type where the getter's docstring has it."""
    found = re.search(r"\(.*\) -> (.+)$", (value.fget.__doc__ or "").strip())
    words = "property" if value.fset else "read-only property"
    return f"{words}: {_clean(found[1])}" if found else words


def _signatures(function: Any) -> list[str]:
    """Give the signatures a docstring of pybind11 opens with; none for plain Python."""
    lines = (function.__doc__ or "").splitlines()
    name = re.escape(getattr(function, "__name__", "?"))
    found = [
        _clean(match[1])
        for line in lines
        if (match := re.match(rf"(?:\d+\. )?{name}(\(.*\)(?: -> .*)?)$", line))
    ]
    return [text for text in found if not text.startswith("(*args, **kwargs)")] or found


def _clean(text: str) -> str:
    return re.sub(r"tensorrt_bindings\.tensorrt\.", "", text)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("output", type=Path, help="folder of the JSON files")
    parser.add_argument(
        "--wheels", type=Path, required=True, help="folder of wheels; missing ones are fetched"
    )
    options = parser.parse_args()
    options.wheels.mkdir(parents=True, exist_ok=True)
    for generation in WHEELS:
        found = surface(generation, wheel_of(generation, options.wheels))
        path = options.output / f"{generation}.json"
        path.write_text(text_of(found))
        print(f"{path}: {found['version']}, {len(found['names'])} names, {path.stat().st_size} bytes")


def wheel_of(generation: str, folder: Path) -> Path:
    """Give a generation's wheel, from the folder or by pip.

    Raises:
        subprocess.CalledProcessError: pip has none for this Python or cannot reach an index.
    """
    name, version = WHEELS[generation].split("==")
    pattern = f"{name.replace('-', '_')}-{version}-cp{sys.version_info[0]}{sys.version_info[1]}-*.whl"
    if not (found := list(folder.glob(pattern))):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
        command += ["--retries", "1", "--disable-pip-version-check"]
        subprocess.run([*command, "-d", folder, WHEELS[generation]], check=True, capture_output=True)
        found = list(folder.glob(pattern))
    return found[0]


def text_of(found: dict[str, Any]) -> str:
    """Lay a surface out one name or member a line, so that a diff reads well."""
    lines = [
        f'{{"wheel": {json.dumps(found["wheel"])}, "version": {json.dumps(found["version"])}, "names": {{'
    ]
    entries = []
    for name, value in found["names"].items():
        if isinstance(value, dict) and "members" in value and "enum" not in value:
            members = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in value["members"].items())
            head = f'"bases": {json.dumps(value["bases"])}'
            entries.append(f'{json.dumps(name)}: {{{head}, "members": {{\n{members}}}}}')
        else:
            entries.append(f"{json.dumps(name)}: {json.dumps(value)}")
    return "\n".join([*lines, ",\n".join(entries), "}}"]) + "\n"


if __name__ == "__main__":
    main()
