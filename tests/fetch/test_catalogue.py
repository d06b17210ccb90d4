"""The list of known weights: everything pinned, and the pins true where the file is at hand."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgeyolo.cli.main import app
from edgeyolo.darknet.architectures import ARCHITECTURES, architecture
from edgeyolo.darknet.network import network_from_cfg
from edgeyolo.errors import ConfigError
from edgeyolo.fetch.catalogue import CATALOGUE, known_model
from edgeyolo.files import sha256_of


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_file_is_pinned_and_says_who_says_so(name: str) -> None:
    for file in CATALOGUE[name].files:
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert file.pinned_by
        assert file.urls
        assert all(re.fullmatch(r"https://\S+/" + re.escape(file.name), url) for url in file.urls)
    assert [file.name for file in CATALOGUE[name].files][-1] == f"{name}.weights"


@pytest.mark.parametrize("name", CATALOGUE)
def test_weights_come_with_their_cfg_or_the_architecture_is_built_in(name: str) -> None:
    names = [file.name for file in CATALOGUE[name].files]
    assert names == [f"{name}.weights"] if name in ARCHITECTURES else [f"{name}.cfg", f"{name}.weights"]


@pytest.mark.parametrize("name", sorted(CATALOGUE.keys() & set(ARCHITECTURES)))
def test_the_size_is_that_of_the_built_in_architecture(name: str) -> None:
    floats = network_from_cfg(architecture(name)).parameter_count
    assert CATALOGUE[name].size_mib == pytest.approx(floats * 4 / 2**20, abs=0.1)


@pytest.mark.parametrize("name", ["yolo-fastest-1.1", "yolo-fastest-1.1-xl", "yoloface-50k"])
def test_the_pins_are_those_of_the_real_files(name: str, shared_data: Path) -> None:
    for file in CATALOGUE[name].files:
        assert sha256_of(shared_data / "darknet" / file.name) == file.sha256


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no model 'yolov9'; known are .*yolov3-tiny"):
        known_model("yolov9")


def test_the_list_shows_every_name() -> None:
    result = CliRunner().invoke(app, ["fetch", "--list"])
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == list(CATALOGUE)


@pytest.mark.needs("pooch")
def test_the_command_prints_the_paths_on_stdout(tmp_path: Path, shared_data: Path) -> None:
    for suffix in (".cfg", ".weights"):
        shutil.copy(shared_data / "darknet" / f"yoloface-50k{suffix}", tmp_path)
    # A proxy that refuses: whatever goes wrong here, nothing leaves this machine.
    env = {"EDGEYOLO_CACHE": str(tmp_path), "HTTPS_PROXY": "http://127.0.0.1:9"}
    result = CliRunner().invoke(app, ["fetch", "yoloface-50k"], env=env)
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == [
        str(tmp_path / "yoloface-50k.cfg"), str(tmp_path / "yoloface-50k.weights"),
    ]  # fmt: skip
