from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeyolo.darknet.architectures import architecture
from edgeyolo.darknet.cfg import read_cfg
from edgeyolo.darknet.layers import Convolutional
from edgeyolo.darknet.misfit import classes_that_fit
from edgeyolo.darknet.network import Network, network_from_cfg
from edgeyolo.darknet.weights import load_parameters, random_parameters, read_header, write_weights
from edgeyolo.errors import EdgeYoloError, ModelError, OutputError, WeightsError
from tests.darknet.cfgs import network

CONV = "convolutional filters=2 size=3 pad=1 batch_normalize=1"
WIDE = struct.pack("<iiiQ", 0, 2, 5, 77)


def detector(classes: int = 2, filters: int = 8) -> Network:
    return network(
        f"convolutional filters={filters} size=3 stride=8 pad=1 batch_normalize=1",
        f"convolutional filters={3 * (5 + classes)} size=1",
        f"yolo classes={classes} num=3 anchors=1,1,2,2,3,3",
    )


def write(path: Path, header: bytes, floats: np.ndarray | list[float]) -> Path:
    path.write_bytes(header + np.asarray(floats, "<f4").tobytes())
    return path


@pytest.mark.parametrize(
    ("header", "size", "seen"),
    [
        (struct.pack("<iiiI", 0, 1, 0, 41), 16, 41),
        (struct.pack("<iiiQ", 0, 2, 0, 1 << 40), 20, 1 << 40),
        (struct.pack("<iiiQ", 0, 2, 5, 7), 20, 7),
        (struct.pack("<iiiQ", 1, 0, 0, 7), 20, 7),
        (struct.pack("<iiiI", 1001, 0, 0, 7), 16, 7),  # 32 bits again above 1000
        (struct.pack("<iiiI", 0, 1002, 0, 7), 16, 7),
    ],
)
def test_seen_has_32_or_64_bits_by_the_version(tmp_path: Path, header: bytes, size: int, seen: int) -> None:
    found = read_header(write(tmp_path / "a.weights", header, [1, 2, 3]))
    assert (found.size, found.seen, found.float_count) == (size, seen, 3)
    assert found.transposed == (size == 16 and 1 not in found.version)


def test_arrays_lie_in_darknets_order(tmp_path: Path) -> None:
    """Numbered floats, so that each array tells where in the file it was."""
    net = network(CONV, "connected output=2 batch_normalize=1", "batchnorm", width=2, channels=1)
    path = write(tmp_path / "a.weights", WIDE, np.arange(net.parameter_count))
    found = load_parameters(net, path)
    conv, connected, norm = found[0], found[1], found[2]
    assert {name: array.ravel()[0] for name, array in conv.items()} == {
        "biases": 0, "scales": 2, "rolling_mean": 4, "rolling_variance": 6, "weights": 8,
    }  # fmt: skip
    assert conv["weights"].shape == (2, 1, 3, 3)
    assert conv["weights"][1, 0, 0, 0] == 8 + 9
    assert {name: array.ravel()[0] for name, array in connected.items()} == {
        "biases": 26, "weights": 28, "scales": 44, "rolling_mean": 46, "rolling_variance": 48,
    }  # fmt: skip
    assert connected["weights"][1].tolist() == list(range(36, 44))
    assert {name: array[0] for name, array in norm.items()} == {
        "biases": 50, "scales": 52, "rolling_mean": 54, "rolling_variance": 56,
    }  # fmt: skip


def test_old_versions_hold_connected_layers_transposed(tmp_path: Path) -> None:
    net = network("connected output=2", width=1, channels=3)
    header = struct.pack("<iiiI", 1001, 0, 0, 0)
    found = load_parameters(net, write(tmp_path / "a.weights", header, [9, 9, 1, 2, 3, 4, 5, 6]))
    assert found[0]["weights"].tolist() == [[1, 3, 5], [2, 4, 6]]


def test_flipped_convolutions_are_turned_both_ways(tmp_path: Path) -> None:
    net = network("convolutional filters=2 flipped=1 size=1", channels=3)
    path = write(tmp_path / "a.weights", WIDE, [9, 9, 1, 2, 3, 4, 5, 6])
    found = load_parameters(net, path)
    assert found[0]["weights"].reshape(2, 3).tolist() == [[1, 3, 5], [2, 4, 6]]
    write_weights(tmp_path / "b.weights", net, found, seen=77)
    assert (tmp_path / "b.weights").read_bytes() == path.read_bytes()


def test_batchnorm_sections_of_pjreddies_darknet_have_no_biases(tmp_path: Path) -> None:
    net = network("batchnorm", channels=2)
    found = load_parameters(net, write(tmp_path / "a.weights", WIDE, [1, 2, 3, 4, 5, 6]))
    assert found[0]["scales"].tolist() == [1, 2]
    assert found[0]["rolling_variance"].tolist() == [5, 6]
    assert found[0]["biases"].tolist() == [0, 0]


def test_shared_layers_have_the_arrays_of_their_owner(tmp_path: Path) -> None:
    net = network(CONV, "convolutional filters=3", f"{CONV} share_index=0")
    floats = np.arange(net.parameter_count)
    found = load_parameters(net, write(tmp_path / "a.weights", WIDE, floats))
    assert found[2] is found[0]
    assert random_parameters(net, 0).keys() == {0, 1, 2}


def test_views_are_of_the_file_and_read_only(tmp_path: Path) -> None:
    net = detector()
    found = load_parameters(net, write(tmp_path / "a.weights", WIDE, np.ones(net.parameter_count)))
    array = found[0]["weights"]
    assert not array.flags.owndata
    assert not array.flags.writeable
    assert array.dtype == np.float32


def test_written_files_read_back_bit_by_bit(tmp_path: Path) -> None:
    net = detector()
    path = tmp_path / "a.weights"
    made = random_parameters(net, 3)
    write_weights(path, net, made, seen=12345)
    assert read_header(path).seen == 12345
    assert path.stat().st_size == 20 + 4 * net.parameter_count
    found = load_parameters(net, path)
    for index, arrays in made.items():
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[index][name], array)


def test_writing_wants_every_array_in_its_shape(tmp_path: Path) -> None:
    net = detector()
    made = {index: dict(arrays) for index, arrays in random_parameters(net, 3).items()}
    made[1]["weights"] = made[1]["weights"][:, :4]
    with pytest.raises(
        WeightsError, match=r"layer 1 \[convolutional\] weights: shape \(21, 8, 1, 1\) expected"
    ):
        write_weights(tmp_path / "a.weights", net, made)
    with pytest.raises(WeightsError, match=r"layer 0 .* None found"):
        write_weights(tmp_path / "a.weights", net, {})
    assert list(tmp_path.iterdir()) == []
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(OutputError):
        write_weights(blocked / "a.weights", net, random_parameters(net, 3))


def test_random_parameters_are_the_same_for_a_seed_and_only_for_it() -> None:
    net = detector()
    first, again, other = (random_parameters(net, seed)[0]["weights"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_random_parameters_keep_the_size_of_activations() -> None:
    """Twelve 1x1 convolutions in plain NumPy: neither vanishing nor exploding."""
    conv = "convolutional filters=64 batch_normalize=1 activation=leaky"
    net = network(*[conv] * 12, channels=64, width=1)
    made = random_parameters(net, 5)
    x = np.random.default_rng(0).standard_normal((64, 1000))
    for index in range(12):
        p = made[index]
        x = p["weights"].reshape(64, 64) @ x
        x = (x - p["rolling_mean"][:, None]) / np.sqrt(p["rolling_variance"])[:, None]
        x = x * p["scales"][:, None] + p["biases"][:, None]
        x = np.maximum(x, 0.1 * x)
    assert 0.1 < x.std() < 10


def test_absurd_networks_get_no_random_parameters() -> None:
    net = network("connected output=100000", width=64)
    with pytest.raises(ModelError, match="at most 536870912 parameters expected to make up"):
        random_parameters(net, 0)


def misfit(net: Network, path: Path) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        load_parameters(net, path)
    assert caught.value.exit_code == 2
    return caught.value


def test_too_short_names_the_layer_and_what_was_left(tmp_path: Path) -> None:
    net = detector()  # 8 * 4 + 216 = 248 floats, then 21 + 168 = 189
    error = misfit(net, write(tmp_path / "a.weights", WIDE, np.ones(250)))
    assert str(error) == (
        f"{tmp_path / 'a.weights'}: does not fit test.cfg: layer 1 [convolutional] (line 11 of the cfg) "
        "wants 189 floats, 2 are left; 437 floats expected in all, 250 found"
    )
    assert error.hint == (
        "download the file again (is it cut off after 57 %?), or give the cfg that the file was trained with"
    )


def test_too_long_tells_what_is_left_over(tmp_path: Path) -> None:
    error = misfit(detector(), write(tmp_path / "a.weights", WIDE, np.ones(440)))
    assert "3 floats are left over after the last layer; 437 floats expected in all, 440 found" in str(error)
    assert error.hint == "give the cfg that the file was trained with"


@pytest.mark.parametrize("classes", [1, 3, 80])
def test_another_number_of_classes_is_guessed(tmp_path: Path, classes: int) -> None:
    trained = detector(classes)
    path = write(tmp_path / "a.weights", WIDE, np.ones(trained.parameter_count))
    assert f"set classes={classes} in every head" in (misfit(detector(), path).hint or "")
    assert classes_that_fit(detector(), trained.parameter_count) == classes
    assert classes_that_fit(detector(), detector().parameter_count + 1) is None


def test_a_classifiers_number_of_classes_is_guessed_too() -> None:
    darknet53 = network_from_cfg(architecture("darknet53"))
    assert classes_that_fit(darknet53, darknet53.parameter_count - 990 * 1025) == 10


@pytest.mark.parametrize(
    ("floats", "hint"),
    [
        (8_858_734, "a.weights -o OUT.onnx   (the file fits yolov3-tiny)"),
        (8_858_734 - 79 * 3 * (513 + 257), "it fits yolov3-tiny with classes=1"),
    ],
)
def test_another_architecture_is_guessed(tmp_path: Path, floats: int, hint: str) -> None:
    path = tmp_path / "a.weights"
    with open(path, "wb") as file:
        file.write(WIDE)
        file.truncate(20 + 4 * floats)  # sparse
    assert hint in (misfit(network_from_cfg(architecture("yolov3")), path).hint or "")


def test_a_backbone_is_known_by_its_end(tmp_path: Path) -> None:
    path = tmp_path / "darknet53.conv.74"
    with open(path, "wb") as file:
        file.write(WIDE)
        file.truncate(162_482_580)  # the published file
    hint = misfit(network_from_cfg(architecture("yolov3")), path).hint or ""
    assert hint.startswith("train it first: the file ends exactly before layer 75, so it is a backbone")


@pytest.mark.parametrize(
    ("data", "message", "hint"),
    [
        (b"", "an empty file found", "download it again"),
        (b"\n<!DOCTYPE html><html>", "a web page found", "download the raw file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer found", "git lfs pull"),
        (b"PK\x03\x04" + bytes(40), "a zip archive", "unpack it"),
        (b"\x1f\x8b" + bytes(40), "a gzip archive", "gunzip"),
        (b"[net]\nwidth=3", "a cfg found", "the cfg first"),
        (b"\0\0\0\0\2\0\0\0", "a header of 16 or 20 bytes expected, a file of 8 bytes found", "download"),
        (b"\0\0\0\0\2\0\0\0" + bytes(10), "whole 4-byte floats expected, 18 bytes found", "cut off"),
        (WIDE + bytes(7), "whole 4-byte floats expected, 27 bytes found", "cut off"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "a file with version 1196314761", "belongs to the cfg"),
    ],
)
def test_files_that_are_no_weights(tmp_path: Path, data: bytes, message: str, hint: str) -> None:
    path = tmp_path / "a.weights"
    path.write_bytes(data)
    error = misfit(detector(), path)
    assert message in str(error)
    assert hint in (error.hint or "")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in str(misfit(detector(), tmp_path / "absent"))
    assert "cannot be read: Is a directory" in str(misfit(detector(), tmp_path))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (8 * 3, -1.0, r"layer 0 \[convolutional\] rolling_variance: -1, a negative variance, found"),
        (0, np.nan, r"layer 0 \[convolutional\] biases: a value that is no finite number found"),
        (8, np.inf, r"layer 0 \[convolutional\] scales: a value that is no finite number found"),
    ],
)
def test_numbers_that_no_training_leaves(tmp_path: Path, place: int, value: float, message: str) -> None:
    net = detector()
    floats = np.ones(net.parameter_count)
    floats[place] = value
    with pytest.raises(WeightsError, match=message):
        load_parameters(net, write(tmp_path / "a.weights", WIDE, floats))


def test_a_network_without_parameters_takes_a_bare_header(tmp_path: Path) -> None:
    assert load_parameters(network("avgpool"), write(tmp_path / "a.weights", WIDE, [])) == {}
    assert "1 floats are left over" in str(
        misfit(network("softmax"), write(tmp_path / "a.weights", WIDE, [1]))
    )


@pytest.mark.parametrize(
    "name", ["yolo-fastest-1.1-xl", "yolo-fastest-1.1", "yoloface-50k", "yolo-lite-coco-trial6"]
)
def test_real_weights_fit_without_a_float_left(shared_data: Path, name: str) -> None:
    net = network_from_cfg(read_cfg(shared_data / "darknet" / f"{name}.cfg"))
    path = shared_data / "darknet" / f"{name}.weights"
    found = load_parameters(net, path)
    assert (
        sum(array.size for arrays in found.values() for array in arrays.values())
        == read_header(path).float_count
    )
    # Trained batch normalisation: if the arrays were off by one float, variances would not be.
    for layer in net.layers:
        if isinstance(layer, Convolutional) and layer.batch_normalize:
            assert found[layer.index]["rolling_variance"].min() >= 0
            assert 0 < np.abs(found[layer.index]["scales"]).mean() < 20


def test_real_weights_that_are_too_short(shared_data: Path) -> None:
    net = network_from_cfg(read_cfg(shared_data / "darknet" / "tiny-yolov2-trial8.cfg"))
    error = misfit(net, shared_data / "darknet" / "tiny-yolov2-trial8.weights")
    assert "layer 14 [convolutional] (line 106 of the cfg) wants 32125 floats, 30253 are left" in str(error)
    assert "574189 floats expected in all, 572317 found" in str(error)


@given(st.binary(max_size=64), st.integers(0, 2000))
@settings(max_examples=300, deadline=None)
def test_any_bytes_give_parameters_or_our_own_error(
    tmp_path_factory: pytest.TempPathFactory, head: bytes, size: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.weights"
    path.write_bytes((head + bytes(2000))[:size])
    with contextlib.suppress(EdgeYoloError):
        load_parameters(detector(), path)


@given(st.binary(min_size=437 * 4, max_size=437 * 4))
@settings(max_examples=100, deadline=None)
def test_any_floats_give_parameters_or_our_own_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "floats.weights"
    path.write_bytes(WIDE + data)
    with contextlib.suppress(EdgeYoloError):
        load_parameters(detector(), path)
