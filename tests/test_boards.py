"""The boards' facts against each other, and the refusals that follow from them."""

from __future__ import annotations

import pytest

from edgeyolo.boards import (
    BOARDS,
    JETPACKS,
    board_named,
    board_of_compatible,
    capability_of,
    jetpack_of_l4t,
    jetpacks_of,
    require_dla,
    require_precision,
)
from edgeyolo.errors import ConfigError, PrecisionError


def test_names_and_part_numbers_are_given_once() -> None:
    names = [board.name for board in BOARDS]
    parts = [part for board in BOARDS for part in board.parts]
    assert len(set(names)) == len(names)
    assert len(set(parts)) == len(parts)


# NVIDIA's own words, one row a family: SM, DLA cores, whether INT8 is worth building.
@pytest.mark.parametrize(
    ("name", "sm", "dla", "int8"),
    [
        ("nano", (5, 3), 0, False), ("tx1", (5, 3), 0, False), ("tx2", (6, 2), 0, False),
        ("xavier-nx", (7, 2), 2, True), ("agx-xavier", (7, 2), 2, True),
        ("orin-nano", (8, 7), 0, True), ("orin-nano-4gb", (8, 7), 0, True),
        ("orin-nx", (8, 7), 2, True), ("orin-nx-8gb", (8, 7), 1, True),
        ("agx-orin", (8, 7), 2, True), ("thor", (11, 0), 0, True), ("thor-t4000", (11, 0), 0, True),
    ],
)  # fmt: skip
def test_what_a_board_has(name: str, sm: tuple[int, int], dla: int, int8: bool) -> None:
    board = board_named(name)
    assert (board.sm, board.dla_cores, board.capability.fast_int8) == (sm, dla, int8)
    assert board.capability.fast_fp16


# Lines of /etc/nv_tegra_release and what was on those systems.
@pytest.mark.parametrize(
    ("l4t", "tensorrt", "python"),
    [
        ((32, 7, 4), (8, 2, 1), "3.6"),
        ((35, 4, 1), (8, 5, 2), "3.8"),
        ((36, 3, 0), (8, 6, 2), "3.10"),
        ((36, 4, 7), (10, 3, 0), "3.10"),
        ((38, 2, 1), (10, 13, 3), "3.12"),
        ((39, 2, 0), (10, 16, 2), "3.12"),
    ],
)
def test_jetpack_of_a_release(l4t: tuple[int, int, int], tensorrt: tuple[int, int, int], python: str) -> None:
    line = jetpack_of_l4t(l4t)
    assert line is not None
    assert (line.tensorrt, line.python) == (tensorrt, python)


def test_jetpack_lines_do_not_overlap() -> None:
    ends = [end for line in JETPACKS for end in line.l4t]
    assert ends == sorted(ends)


def test_every_board_has_a_jetpack_and_orin_has_no_thor_release() -> None:
    assert all(jetpacks_of(board) for board in BOARDS)
    assert "7.0 and 7.1" not in [line.versions for line in jetpacks_of(board_named("orin-nx"))]
    assert [line.tensorrt[:2] for line in jetpacks_of(board_named("nano"))] == [(8, 0), (8, 2)]


@pytest.mark.parametrize(
    ("compatible", "name"),
    [
        ("nvidia,p3449-0000-b00+p3448-0000-b00\0nvidia,jetson-nano\0nvidia,tegra210", "nano"),
        ("nvidia,p3509-0000+p3668-0000\0nvidia,tegra194", "xavier-nx"),
        ("nvidia,p4071-0000+p3834-0008\0nvidia,p3834-0008\0nvidia,tegra264", "thor"),
        ("nvidia,p3737-0000+p3701-0005\0nvidia,p3701-0005\0nvidia,tegra234", "agx-orin"),
    ],
)
def test_board_of_a_device_tree(compatible: str, name: str) -> None:
    board = board_of_compatible(compatible)
    assert board is not None
    assert board.name == name


def test_a_refusal_names_what_to_ask_for_instead() -> None:
    for sm in ((5, 3), (6, 2)):
        with pytest.raises(PrecisionError) as caught:
            require_precision(sm, "int8", where="board")
        assert caught.value.hint == "--precision fp16"
    with pytest.raises(PrecisionError) as caught:
        require_precision((6, 1), "fp16", where="GTX 1080")
    assert caught.value.hint == "--precision fp32"


def test_a_gpu_newer_than_the_table_is_not_refused() -> None:
    assert capability_of((13, 0)).fast_int8


def test_dla() -> None:
    require_dla(2, 1, precision="int8", where="Orin NX")
    with pytest.raises(ConfigError, match="has DLA core 0"):
        require_dla(1, 1, precision="int8", where="Orin NX 8GB")
    with pytest.raises(ConfigError, match="has no DLA"):
        require_dla(0, 0, precision="fp16", where="Orin Nano")
    with pytest.raises(PrecisionError):
        require_dla(2, 0, precision="fp32", where="AGX Orin")
