"""Structural similarity in numpy (Wang et al., 2004), over windows of 8 × 8 pixels, of the luminance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.generic]
_WINDOW = 8


def ssim(one: Pixels, other: Pixels) -> float:
    """1 for equal pictures (rows × columns × 3 or more, 0 to 255), less the less alike they are."""
    assert one.shape[:2] == other.shape[:2], (one.shape, other.shape)
    a, b = _luminance(one), _luminance(other)
    mean_a, mean_b = _means(a), _means(b)
    variance_a, variance_b = _means(a * a) - mean_a**2, _means(b * b) - mean_b**2
    covariance = _means(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    alike = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return float(np.mean(alike / ((mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2))))


def _luminance(pixels: Pixels) -> npt.NDArray[np.float64]:
    return pixels[..., :3].astype(np.float64) @ np.array([0.2126, 0.7152, 0.0722])


def _means(plane: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    sums = np.pad(plane, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    k = _WINDOW
    return (sums[k:, k:] - sums[:-k, k:] - sums[k:, :-k] + sums[:-k, :-k]) / k**2
