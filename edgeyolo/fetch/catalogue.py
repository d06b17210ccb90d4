"""The weights that EdgeYOLO knows where to get, each pinned by sha256.

Owns the list. Refuses a file whose hash nobody has published: `RemoteFile.pinned_by` names who did. The files
are their authors' property; EdgeYOLO ships none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgeyolo.errors import ConfigError

__all__ = ["CATALOGUE", "KnownModel", "RemoteFile", "known_model"]


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """One file that can be downloaded.

    Args:
        name: File name in the cache.
        sha256: 64 lower-case hexadecimal digits.
        size_mib: Its length, about.
        urls: Where it is; tried in this order.
        pinned_by: Where the hash was published, or how we came by it.
    """

    name: str
    sha256: str
    size_mib: float
    urls: tuple[str, ...]
    pinned_by: str


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """What one name of `edgeyolo fetch` stands for.

    Args:
        title: For people.
        files: The cfg first, where it has one of its own, then the weights. Without a cfg, the architecture
            is built in under the same name.
    """

    title: str
    files: tuple[RemoteFile, ...]

    @property
    def size_mib(self) -> float:
        """Size of all its files, about."""
        return sum(file.size_mib for file in self.files)


def known_model(name: str, catalogue: Mapping[str, KnownModel] | None = None) -> KnownModel:
    """Find a model by its name.

    Args:
        name: As `edgeyolo fetch --list` shows it.
        catalogue: Where to look; `CATALOGUE` if not given.

    Raises:
        ConfigError: No such name.

    Examples:
        >>> known_model("yolov3").files[0].name
        'yolov3.weights'
        >>> known_model("yolov9")
        Traceback (most recent call last):
        ...
        edgeyolo.errors.ConfigError: fetch: no model 'yolov9'; known are yolo-fastest-1.1, ...
    """
    catalogue = CATALOGUE if catalogue is None else catalogue
    if name not in catalogue:
        raise ConfigError(
            f"fetch: no model {name!r}; known are {', '.join(sorted(catalogue))}",
            hint="for any other, get its cfg and weights: edgeyolo convert CFG WEIGHTS -o OUT.onnx",
        )
    return catalogue[name]


# Joseph Redmon's server answers under two names; either has been down at times.
_REDMON = ("https://data.pjreddie.com/files/", "https://pjreddie.com/media/files/")
_ALEXEY = "https://github.com/AlexeyAB/darknet/releases/download/"
_ROS = "https://github.com/leggedrobotics/darknet_ros/releases/download/1.1.4/"
_QIUQIU = "https://raw.githubusercontent.com/dog-qiuqiu/"
_FASTEST_XL = (
    f"{_QIUQIU}Yolo-Fastest/9c62b1c50e024fb73d29a651133b1d63548e63a1/ModelZoo/yolo-fastest-1.1_coco/"
)
_FASTEST = f"{_QIUQIU}Yolo-Fastest/99d03d0f26e2555275bdb30f43479d47cc19311f/ModelZoo/yolo-fastest-1.1_coco/"
_YOLOFACE = f"{_QIUQIU}MobileNet-Yolo/b5604ecd3db8a912908abedb14b705eb0832370c/yoloface-50k/"

_META_ROS = "ros/meta-ros, recipes-bbappends/darknet-ros/darknet-ros_1.1.5-1.bbappend"
_EMGU = "emgucv/emgucv, Emgu.CV.Models/Dnn/Yolo.cs"
_OPEN_MODEL_ZOO = "openvinotoolkit/open_model_zoo, models/public/{}/model.yml"
_COMPUTED = "computed from that repository's file"


def _file(name: str, sha256: str, size_mib: float, bases: tuple[str, ...], pinned_by: str) -> RemoteFile:
    urls = tuple(base + name for base in bases)
    return RemoteFile(name=name, sha256=sha256, size_mib=size_mib, urls=urls, pinned_by=pinned_by)


CATALOGUE: Mapping[str, KnownModel] = {
    "yolov2": KnownModel(
        title="YOLOv2, COCO, 80 classes",
        files=(
            _file(
                "yolov2.weights",
                "d9945162ed6f54ce1a901e3ec537bdba4d572ecae7873087bd730e5a7942df3f",
                194.5,
                (_ROS, *_REDMON),
                _META_ROS,
            ),
        ),
    ),
    "yolov2-tiny": KnownModel(
        title="YOLOv2-tiny, COCO, 80 classes",
        files=(
            _file(
                "yolov2-tiny.weights",
                "16f4e870f1aed83f0089cb69bfda6b53cb7b2a4a01721be56eaf5c899dfac45f",
                42.9,
                (_ROS, *_REDMON),
                _META_ROS,
            ),
        ),
    ),
    "yolov3": KnownModel(
        title="YOLOv3 (Darknet-53), COCO, 80 classes",
        files=(
            _file(
                "yolov3.weights",
                "523e4e69e1d015393a1b0a441cef1d9c7659e3eb2d7e15f793f060a21b32f297",
                236.5,
                (*_REDMON, _ROS),
                _META_ROS,
            ),
        ),
    ),
    "yolov3-tiny": KnownModel(
        title="YOLOv3-tiny, COCO, 80 classes",
        files=(
            _file(
                "yolov3-tiny.weights",
                "dccea06f59b781ec1234ddf8d1e94b9519a97f4245748a7d4db75d5b7080a42c",
                33.8,
                _REDMON,
                _EMGU,
            ),
        ),
    ),
    "yolov3-spp": KnownModel(
        title="YOLOv3-SPP (Darknet-53), COCO, 80 classes",
        files=(
            _file(
                "yolov3-spp.weights",
                "87a1e8c85c763316f34e428f2295e1db9ed4abcec59dd9544f8052f50de327b4",
                240.5,
                _REDMON,
                _EMGU,
            ),
        ),
    ),
    "yolov4": KnownModel(
        title="YOLOv4, COCO, 80 classes",
        files=(
            _file(
                "yolov4.weights",
                "e8a4f6c62188738d86dc6898d82724ec0964d0eb9d2ae0f0a9d53d65d108d562",
                245.8,
                (f"{_ALEXEY}yolov4/", f"{_ALEXEY}darknet_yolo_v3_optimal/"),
                _OPEN_MODEL_ZOO.format("yolo-v4-tf"),
            ),
        ),
    ),
    "yolov4-tiny": KnownModel(
        title="YOLOv4-tiny, COCO, 80 classes",
        files=(
            _file(
                "yolov4-tiny.weights",
                "cf9fbfd0f6d4869b35762f56100f50ed05268084078805f0e7989efe5bb8ca87",
                23.1,
                (f"{_ALEXEY}yolov4/", f"{_ALEXEY}darknet_yolo_v4_pre/"),
                _OPEN_MODEL_ZOO.format("yolo-v4-tiny-tf"),
            ),
        ),
    ),
    "yolo-fastest-1.1": KnownModel(
        title="Yolo-Fastest 1.1, COCO, 80 classes",
        files=(
            _file(
                "yolo-fastest-1.1.cfg",
                "f6df5775c1e862998cf69046eba9265be3ae84dfe8b2caab7529823f0795bf70",
                0.01,
                (_FASTEST,),
                _COMPUTED,
            ),
            _file(
                "yolo-fastest-1.1.weights",
                "1c445c42bbd6df63edea2cc69f99667b5650d663ca11e34b116240740cd42890",
                1.3,
                (_FASTEST,),
                _COMPUTED,
            ),
        ),
    ),
    "yolo-fastest-1.1-xl": KnownModel(
        title="Yolo-Fastest 1.1 XL, COCO, 80 classes",
        files=(
            _file(
                "yolo-fastest-1.1-xl.cfg",
                "c458427acc4fbeabceff4528ef7b65b066c0308ce599460f8ba299eba63abad3",
                0.01,
                (_FASTEST_XL,),
                _COMPUTED,
            ),
            _file(
                "yolo-fastest-1.1-xl.weights",
                "fac5fb41786c1f38f04972a658443b189f48720d7d117f9a044100e98a35b0c5",
                3.5,
                (_FASTEST_XL,),
                _COMPUTED,
            ),
        ),
    ),
    "yoloface-50k": KnownModel(
        title="yoloface-50k, one class",
        files=(
            _file(
                "yoloface-50k.cfg",
                "5b66f9bebf994dc87d75b67f93ae91496fa006c03f5af50ddbce10b57a9a88f4",
                0.01,
                (_YOLOFACE,),
                _COMPUTED,
            ),
            _file(
                "yoloface-50k.weights",
                "7372441aa4e9b5ed90fa4e2c78a0a609c36e8837d43827324e4ce1f292af7b58",
                0.04,
                (_YOLOFACE,),
                _COMPUTED,
            ),
        ),
    ),
}
