"""Shapes and BFLOPs against the table that Darknet itself prints when it loads a cfg.

The library exits and crashes on some cfgs, so it runs in a process of its own. Rows look like
``   0 conv     32  3 x 3 / 1   416 x 416 x   3   ->   416 x 416 x  32  0.299 BFLOPs``.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgeyolo.darknet.cfg import read_cfg
from edgeyolo.darknet.layers import Shape
from edgeyolo.darknet.network import network_from_cfg
from tests.parts import LIBDARKNET
from tests.reference.libdarknet import cfg_for

pytestmark = pytest.mark.needs("libdarknet", "darknet-cfgs")

DEBIAN_CFGS = Path("/usr/share/darknet/cfg")
LOAD = """
import ctypes, os, sys
library = ctypes.CDLL(sys.argv[1])
library.load_network.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int]
library.load_network(sys.argv[2].encode(), None, 0)
os._exit(0)
"""
ROW = re.compile(
    r"^ *(\d+) +([a-z0-9]+) .*-> *(\d+)(?: x *(\d+) x *(\d+))?(?: +([\d.]+) BFLOPs)?", re.MULTILINE
)
QUICK = ["cifar", "darknet", "darknet19", "densenet201", "resnet18", "resnext50", "tiny", "writing"]
QUICK += ["yolov2-tiny", "yolov3-tiny"]
SLOW = ["alexnet", "darknet53", "extraction.conv", "jnet-conv", "resnet50", "resnet152", "resnext101-32x4d"]
SLOW += ["strided", "t1.test", "yolov2", "yolov2-voc", "yolov3", "yolov3-spp"]


@pytest.mark.parametrize("name", QUICK + [pytest.param(name, marks=pytest.mark.slow) for name in SLOW])
def test_shapes_and_flops_are_darknets(name: str, tmp_path: Path) -> None:
    path = cfg_for(DEBIAN_CFGS / f"{name}.cfg", tmp_path)
    layers = network_from_cfg(read_cfg(path)).layers
    rows = ROW.findall(_table(path))
    assert len(rows) > len(layers) / 2
    for index, kind, first, second, third, bflops in rows:
        layer = layers[int(index)]
        if third:
            assert Shape(int(third), int(second), int(first)) == layer.out_shape, (index, kind)
        else:  # a number of values, where Darknet thinks flat
            assert int(first) == layer.out_shape.size, (index, kind)
        if bflops:
            assert 2 * layer.macs / 1e9 == pytest.approx(float(bflops), abs=0.00051), (index, kind)


def _table(cfg: Path) -> str:
    command = [sys.executable, "-c", LOAD, str(LIBDARKNET), str(cfg)]
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=300, check=True, cwd=cfg.parent
    )
    return done.stderr
