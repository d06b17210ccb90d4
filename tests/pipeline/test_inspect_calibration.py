"""Scales and TensorRT caches, told by their content."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from edgeyolo.calibrate.manifest import Item, Manifest
from edgeyolo.scales import Provenance, Scales, TensorScale
from tests.command import COMMAND, edgeyolo


@pytest.fixture
def scales(tmp_path: Path) -> Path:
    made = Provenance(
        model_sha256="aa" * 32,
        preprocess_sha256="bb" * 32,
        manifest_sha256="cc" * 32,
        images=64,
        method="auto",
    )
    tensors = {
        f"t{n}": TensorScale(amax=1.0 + n, method="mse" if n else "percentile 99.99") for n in range(20)
    }
    Scales(provenance=made, tensors=tensors, float_layers={"conv7": "costs 0.02"}).write(
        tmp_path / "any.name"
    )
    return tmp_path / "any.name"


def test_scales_say_what_they_were_made_from(scales: Path) -> None:
    done = edgeyolo("inspect", scales)
    assert done.returncode == 0, done.stderr
    for words in (
        "auto, 64 pictures",
        "sha256 " + "cc" * 32,
        "19 by mse, 1 by percentile",
        "conv7: costs 0.02",
    ):
        assert words in done.stdout
    facts = json.loads(edgeyolo("inspect", scales, "--json").stdout)
    assert facts["kind"] == "scales"
    assert facts["tensors"]["t3"]["amax"] == 4.0


def test_broken_scales_are_an_error(scales: Path) -> None:
    scales.write_text(scales.read_text().replace('"amax": 4.0', '"amax": -4.0'))
    done = edgeyolo("inspect", scales)
    assert done.returncode == 2
    assert "a positive finite amax and a method expected for 't3', {\"amax\": -4.0" in done.stderr


def test_every_real_cache_is_told(shared_data: Path) -> None:
    for path, words in {
        "nvidia_cudla_qat2ptq.cache": "TensorRT 8.6.0 (8600), EntropyCalibration2",
        "chicken_yolov11_calibration.cache": "TensorRT 10.3.0 (100300)",
        "jkjung_calib_yolov3-tiny-int8-416.bin": "TensorRT 7.1.3 (7103)",
    }.items():
        done = edgeyolo("inspect", shared_data / "trt_cache" / path)
        assert done.returncode == 0, done.stderr
        assert words in done.stdout
    facts = json.loads(edgeyolo("inspect", shared_data / "trt_cache" / path, "--json").stdout)
    assert facts["tensors"]["000_net"]["amax"] == pytest.approx(1.000244, abs=1e-6)


def test_a_broken_cache_is_explained_by_line(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("TRT-8601-EntropyCalibration2\nimages = 1\n")
    done = edgeyolo("inspect", tmp_path / "c")
    assert done.returncode == 2
    assert "c:2:" in done.stderr


def test_a_manifest_tells_its_hash_and_its_pictures(tmp_path: Path) -> None:
    items = [Item(f"{n:02}.jpg", -1, f"{n:064x}") for n in range(20)]
    items += [Item("day.mp4", frame, "ff" * 32) for frame in (0, 30)]
    manifest = Manifest.of(tmp_path, items)
    manifest.write(tmp_path / "any.name")
    done = edgeyolo("inspect", tmp_path / "any.name")
    assert done.returncode == 0, done.stderr
    for words in ("22, 2 of them frames of videos", f"sha256 {manifest.fingerprint}", "picture      11.jpg"):
        assert words in done.stdout
    assert "and 10 more" in done.stdout
    facts = json.loads(edgeyolo("inspect", tmp_path / "any.name", "--json").stdout)
    assert (facts["kind"], facts["names"][-1]) == ("manifest", "day.mp4#30")


def test_a_manifest_with_a_name_in_no_encoding(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"00" * 32 + b"  caf\xe9.jpg\n")
    done = subprocess.run([*COMMAND, "inspect", tmp_path / "m"], capture_output=True, check=True)
    assert b"caf\xe9.jpg" in done.stdout
    facts = json.loads(edgeyolo("inspect", tmp_path / "m", "--json").stdout)
    assert facts["names"] == [os.fsdecode(b"caf\xe9.jpg")]


def test_a_broken_manifest_is_explained_by_line(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("00" * 32 + "  a.jpg\nnothing\n")
    done = edgeyolo("inspect", tmp_path / "m")
    assert done.returncode == 2
    assert "m:2: 64 hexadecimal digits" in done.stderr
