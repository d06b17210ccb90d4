"""``edgeyolo doctor`` on file systems as boards have them, and on this machine."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from edgeyolo.camera.v4l2 import read_device
from edgeyolo.gstreamer import load_gst
from edgeyolo.pipeline import doctor_cameras
from edgeyolo.pipeline.doctor import Answer, examine, has_problem
from tests.camera.video_device import FakeDriver
from tests.command import edgeyolo
from tests.sim.tensorrt.fixtures import tensorrt

__all__ = ["tensorrt"]

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
ORIN_NANO = {
    "etc/nv_tegra_release": (
        "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, "
        "DATE: Wed Jan  8 01:49:37 UTC 2025\n# KERNEL_VARIANT: oot\n"
    ),
    "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0",
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit\0",
    "proc/meminfo": "MemTotal: 7802908 kB\nMemFree: 1 kB\nMemAvailable: 5120000 kB\nSwapFree: 3901440 kB\n",
    "proc/swaps": "Filename Type Size Used Priority\n/dev/zram0 partition 650240 0 5\n",
    "var/lib/nvpmodel/status": "pmode:0001",
    "etc/nvpmodel.conf": (
        "< PARAM TYPE=FILE NAME=CPU_ONLINE >\n< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=25W >\n"
        "< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n< PM_CONFIG DEFAULT=1 >\n"
    ),
    "sys/class/devfreq/17000000.gpu/cur_freq": "306000000\n",
    "sys/class/devfreq/17000000.gpu/min_freq": "306000000\n",
    "sys/class/devfreq/17000000.gpu/max_freq": "1020000000\n",
    "sys/class/devfreq/17000000.gpu/governor": "nvhost_podgov\n",
    "usr/local/cuda/version.json": '{"cuda": {"name": "CUDA SDK", "version": "12.6.68"}}',
    "dev/video0": "",
    "sys/class/video4linux/video0/name": "vi-output, imx219 9-0010\n",
}  # fmt: skip


def tree(root: Path, files: dict[str, str], **changes: str) -> Path:
    for name, text in {**files, **changes}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def about(answers: tuple[Answer, ...], name: str) -> Answer:
    return next(answer for answer in answers if answer.about == name)


def test_an_orin_nano(tmp_path: Path) -> None:
    answers = examine(tree(tmp_path, ORIN_NANO))
    assert about(answers, "board").text == "Jetson Orin Nano 8GB (SM 8.7, 8 GB)"
    jetpack = about(answers, "JetPack")
    assert jetpack.text.startswith("6.1 to 6.2.3 (L4T 36.4.3): TensorRT 10.3.0, CUDA 12.6, Python 3.10")
    assert jetpack.level == ("ok" if PYTHON == "3.10" else "problem")
    assert about(answers, "DLA").text == "this module has none"
    assert about(answers, "GPU").level == "problem"  # a Jetson whose driver does not answer
    memory = about(answers, "memory")
    assert memory.level == "warning"
    assert "mkswap" in (memory.remedy or "")
    power = about(answers, "power mode")
    assert (power.text, power.remedy) == ("25W; MAXN_SUPER is faster", "sudo nvpmodel -m 2")
    clocks = about(answers, "clocks")
    assert "306 of 1020 MHz (nvhost_podgov)" in clocks.text
    assert clocks.remedy == "sudo jetson_clocks"
    assert about(answers, "camera").text.startswith("/dev/video0: vi-output, imx219 9-0010")
    assert about(answers, "CUDA").text == "toolkit 12.6.68"
    assert has_problem(answers)


def test_held_clocks_full_power_and_a_swap_file_are_fine(tmp_path: Path) -> None:
    changes = {
        "var/lib/nvpmodel/status": "pmode:0002",
        "sys/class/devfreq/17000000.gpu/min_freq": "1020000000",
        "proc/swaps": "Filename Type Size Used Priority\n/swapfile file 8388604 0 -2\n",
    }
    answers = examine(tree(tmp_path, ORIN_NANO, **changes))
    assert {about(answers, name).level for name in ("power mode", "clocks", "memory")} == {"ok"}


@pytest.mark.parametrize(
    ("release", "compatible", "expected"),
    [
        ("R32 (release), REVISION: 7.4", "p3448-0000", "--trtexec 8.2"),
        ("R35 (release), REVISION: 4.1", "p3668-0000", "--trtexec 8.5"),
    ],
)
def test_boards_served_by_files(tmp_path: Path, release: str, compatible: str, expected: str) -> None:
    files = {"etc/nv_tegra_release": f"# {release}, GCID: 1", "proc/device-tree/compatible": compatible}
    jetpack = about(examine(tree(tmp_path, files)), "JetPack")
    assert jetpack.level == "warning"
    assert expected in (jetpack.remedy or "")


def test_releases_without_dla(tmp_path: Path) -> None:
    files = {
        "etc/nv_tegra_release": "# R39 (release), REVISION: 2.0",
        "proc/device-tree/compatible": "p3767-0000",
    }
    assert (
        "2 cores, which TensorRT 10.16.2 does not reach" in about(examine(tree(tmp_path, files)), "DLA").text
    )


def test_unknown_releases_and_modules_are_told_as_such(tmp_path: Path) -> None:
    files = {
        "etc/nv_tegra_release": "# R77 (release), REVISION: 1.0",
        "proc/device-tree/model": "Jetson Next\0",
    }
    answers = examine(tree(tmp_path, files))
    assert about(answers, "board").text.startswith("Jetson Next, which")
    assert "no facts" in about(answers, "JetPack").text


@pytest.mark.parametrize("tensorrt", ["8.6", "10.3"], indirect=True)
def test_tensorrt_of_another_release_than_jetpacks(tensorrt: ModuleType, tmp_path: Path) -> None:
    answer = about(examine(tree(tmp_path, ORIN_NANO)), "TensorRT")
    fits = tensorrt.__version__.startswith("10.3")
    assert answer.level == ("ok" if fits else "warning")
    assert tensorrt.__version__ in answer.text


@pytest.mark.parametrize("tensorrt", ["10.13", "10.16", "11.4"], indirect=True)
def test_a_tensorrt_that_can_be_installed_on_jetpack_is_fine(tensorrt: ModuleType, tmp_path: Path) -> None:
    changes = {"etc/nv_tegra_release": "# R39 (release), REVISION: 2.0"}
    answer = about(examine(tree(tmp_path, ORIN_NANO, **changes)), "TensorRT")
    assert answer.level == ("warning" if tensorrt.__version__.startswith("10.13") else "ok")


def test_numpy_that_tensorrt_fails_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What TensorRT 8.5.2's own Python does with NumPy 1.24 to 1.26."""

    def nptype(_: object) -> object:
        raise AttributeError("module 'numpy' has no attribute 'bool'")

    old = ModuleType("tensorrt")
    old.__version__, old.bool, old.nptype = "8.5.2.2", object(), nptype  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorrt", old)
    answer = about(examine(tmp_path), "NumPy")
    assert (answer.level, answer.remedy) == ("warning", "pip install 'numpy<1.24'")
    assert "TensorRT 8.5.2.2 fails with it (module 'numpy' has no attribute 'bool')" in answer.text


@pytest.mark.parametrize("tensorrt", ["10.13"], indirect=True)
def test_pips_tensorrt_over_the_systems(
    tensorrt: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "usr/lib/python3.10/dist-packages/tensorrt-10.3.0.dist-info").mkdir(parents=True)
    site = tmp_path / "site"
    (site / "tensorrt_cu12-10.13.3.9.dist-info").mkdir(parents=True)
    (site / "tensorrt_cu12-10.13.3.9.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: tensorrt-cu12\nVersion: 10.13.3.9\n"
    )
    monkeypatch.syspath_prepend(str(site))
    answer = about(examine(tree(tmp_path, ORIN_NANO)), "TensorRT")
    assert (answer.level, answer.remedy) == ("problem", "pip uninstall tensorrt-cu12")


def test_a_system_tensorrt_that_the_environment_hides(tmp_path: Path) -> None:
    if "tensorrt" in sys.modules or sys.prefix == sys.base_prefix:
        pytest.skip("needs a virtual environment without TensorRT")
    (tmp_path / "usr/lib/python3.10/dist-packages/tensorrt-10.3.0.dist-info").mkdir(parents=True)
    answer = about(examine(tree(tmp_path, ORIN_NANO)), "TensorRT")
    assert answer.level == "problem"
    assert "--system-site-packages" in (answer.remedy or "")


CAMERAS = {
    "a webcam": (
        FakeDriver(formats={"MJPG": {(1280, 720): [(1, 30), (1, 10)]}, "YUYV": {(1280, 720): [(1, 10)]}}),
        "/dev/video0: HD Webcam: HD Webcam; MJPG: 1280x720@30; YUYV: 1280x720@10",
    ),
    "a sensor": (
        FakeDriver(formats={"RG10": {(3280, 2464): [(1, 21)]}}, card=b"vi-output, imx219"),
        "/dev/video0: vi-output, imx219; a bare sensor, which csi:// reads (RG10: 3280x2464@21)",
    ),
}


@pytest.mark.parametrize("kind", CAMERAS)
def test_what_a_camera_can_do(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver, text = CAMERAS[kind]
    monkeypatch.setattr(doctor_cameras, "read_device", functools.partial(read_device, ioctl=driver.ioctl))
    assert about(examine(tree(tmp_path, {"dev/video0": ""})), "camera").text == text


def test_a_node_of_metadata_is_no_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = FakeDriver(caps=0x04A00000)
    monkeypatch.setattr(doctor_cameras, "read_device", functools.partial(read_device, ioctl=driver.ioctl))
    assert about(examine(tree(tmp_path, {"dev/video1": ""})), "camera").text.startswith("none")


@pytest.mark.parametrize(
    ("files", "level", "text"),
    [
        ({}, "warning", "the camera daemon does not run"),
        ({"tmp/argus_socket": ""}, "ok", "the camera daemon runs"),
    ],
)
def test_the_daemon_of_csi_cameras(
    files: dict[str, str], level: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_cameras, "has_element", lambda name: True)
    answer = about(examine(tree(tmp_path, {**ORIN_NANO, **files})), "CSI")
    assert (answer.level, answer.text.startswith(text)) == (level, True)
    assert answer.level == "ok" or answer.remedy == "sudo systemctl restart nvargus-daemon"


@pytest.mark.needs("gstreamer")
def test_gstreamer_and_its_decoders(tmp_path: Path) -> None:
    answers = examine(tmp_path)
    assert about(answers, "GStreamer").text.endswith("through PyGObject")
    decoders = [answer.text for answer in answers if answer.about == "decoder"]
    assert [text.partition(" decoded by ")[0] for text in decoders] == ["H.264", "H.265", "MJPEG"]


def test_without_gstreamer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gi", None)
    load_gst.cache_clear()
    try:
        answer = about(examine(tmp_path), "GStreamer")
        on_board = about(examine(tree(tmp_path, ORIN_NANO)), "GStreamer")
    finally:
        load_gst.cache_clear()
    assert (answer.level, on_board.level) == ("note", "warning")
    assert "cameras are read by OpenCV" in answer.text
    assert "gir1.2-gst-plugins-base-1.0" in (answer.remedy or "")


def test_a_machine_with_nothing(tmp_path: Path) -> None:
    answers = examine(tmp_path)
    assert "no Jetson" in about(answers, "board").text
    assert about(answers, "camera").remedy == "edgeyolo run ENGINE test://"
    assert not any(answer.about == "memory" for answer in answers)


def test_the_command_on_this_machine(tmp_path: Path) -> None:
    done = edgeyolo("doctor", "--json")
    answers = json.loads(done.stdout)
    assert done.returncode == int(any(answer["level"] == "problem" for answer in answers)), done.stderr
    assert {"machine", "board", "TensorRT", "OpenCV"} <= {answer["about"] for answer in answers}
    board = edgeyolo("doctor", "--root", tree(tmp_path, ORIN_NANO))
    assert board.returncode == 1
    assert "WARNING power mode" in board.stdout
    assert "try: sudo nvpmodel -m 2" in board.stdout
