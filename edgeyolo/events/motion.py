"""Where followed boxes are and where they go: a Kalman filter of all of them at once, in real seconds.

Owns the model of motion: centre, width and height of a box, each with a velocity that a random acceleration
changes. The four are independent of each other, and so are their noises, so that the filter of every box is
four filters of two numbers, written out; N boxes cost as many NumPy calls as one. Refuses to know which
measurement belongs to which box (``edgeyolo.events.tracker``).

Source:
    R. E. Kalman, "A new approach to linear filtering and prediction problems", 1960; the noise of a velocity
    that white-noise acceleration changes: Bar-Shalom, Li and Kirubarajan, "Estimation with applications to
    tracking and navigation", 2001, 6.2.2. That noise is given relative to the box's size as in SORT's
    descendants (Wojke, Bewley and Paulus, "Simple online and realtime tracking with a deep association
    metric", 2017), and in seconds in place of frames, so that dropped frames are no different from slow ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Motion", "cxcywh_from_xyxy", "xyxy_from_cxcywh"]

# In sizes of the box (the square root of its area); chosen on tools/bench_tracker.py's scenes.
_MEASURED = 0.04  # standard deviation of a detected coordinate
_START_SPEED = np.array([2.0, 2.0, 0.3, 0.3])  # of the velocity of a new box, sizes a second
_ACCELERATION = np.array([1.0, 1.0, 0.5, 0.5])  # square root of its spectral density, sizes / s^1.5
_LEAST_SIDE_PX = 1.0


class Motion:
    """The state of N boxes, in rows that the caller keeps in order."""

    def __init__(self) -> None:
        # Value, velocity, and their covariance: of the value, of the two, of the velocity. Each (N, 4).
        self._state = np.empty((5, 0, 4))

    def __len__(self) -> int:
        return self._state.shape[1]

    def add(self, cxcywh: npt.NDArray[np.float64]) -> None:
        """Append boxes that were seen for the first time.

        Args:
            cxcywh: Shape ``(K, 4)``, pixels.
        """
        new = np.zeros((5, len(cxcywh), 4))
        size = _sizes(cxcywh)
        new[0] = cxcywh
        new[2] = (_MEASURED * size) ** 2
        new[4] = (_START_SPEED * size) ** 2
        self._state = np.concatenate([self._state, new], axis=1)

    def keep(self, rows: list[int]) -> None:
        """Keep these rows only."""
        self._state = self._state[:, rows]

    def predict(self, seconds: float) -> None:
        """Let time pass.

        Args:
            seconds: 0 or more.
        """
        value, velocity, of_value, of_both, of_velocity = self._state
        noise = (_ACCELERATION * _sizes(value)) ** 2 * seconds
        value += seconds * velocity
        np.maximum(value[:, 2:], _LEAST_SIDE_PX, out=value[:, 2:])
        of_value += seconds * (2 * of_both + seconds * of_velocity) + noise * seconds**2 / 3
        of_both += seconds * of_velocity + noise * seconds / 2
        of_velocity += noise

    def correct(self, rows: list[int], cxcywh: npt.NDArray[np.float64]) -> None:
        """Take what was measured.

        Args:
            rows: K rows, each once.
            cxcywh: Shape ``(K, 4)``, pixels.
        """
        value, velocity, of_value, of_both, of_velocity = self._state[:, rows]
        sure = of_value + (_MEASURED * _sizes(cxcywh)) ** 2
        gain, gain_velocity = of_value / sure, of_both / sure
        surprise = cxcywh - value
        self._state[:, rows] = (
            value + gain * surprise,
            velocity + gain_velocity * surprise,
            of_value * (1 - gain),
            of_both * (1 - gain),
            of_velocity - gain_velocity * of_both,
        )

    @property
    def cxcywh(self) -> npt.NDArray[np.float64]:
        """Centre and sides, shape ``(N, 4)``, pixels."""
        value: npt.NDArray[np.float64] = self._state[0]
        return value

    @property
    def doubt(self) -> npt.NDArray[np.float64]:
        """Standard deviation of each coordinate, shape ``(N, 4)``, pixels."""
        deviation: npt.NDArray[np.float64] = np.sqrt(self._state[2])
        return deviation


def cxcywh_from_xyxy(xyxy: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Turn corners into centres and sides, shape ``(N, 4)``.

    Examples:
        >>> cxcywh_from_xyxy(np.array([[0.0, 0.0, 4.0, 2.0]])).tolist()
        [[2.0, 1.0, 4.0, 2.0]]
    """
    low, high = xyxy[:, :2].astype(np.float64), xyxy[:, 2:].astype(np.float64)
    return np.concatenate([(low + high) / 2, np.maximum(high - low, _LEAST_SIDE_PX)], axis=1)


def xyxy_from_cxcywh(cxcywh: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Turn centres and sides into corners, shape ``(N, 4)``."""
    half = cxcywh[:, 2:] / 2
    return np.concatenate([cxcywh[:, :2] - half, cxcywh[:, :2] + half], axis=1)


def _sizes(cxcywh: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Give the square root of each box's area, shape ``(N, 1)``."""
    size: npt.NDArray[np.float64] = np.sqrt(cxcywh[:, 2:3] * cxcywh[:, 3:4])
    return size
