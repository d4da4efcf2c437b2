"""Structural similarity of two pictures as its authors have it: Gaussian windows over the luminance.

Wang, Bovik, Sheikh and Simoncelli: Image quality assessment (2004).
"""

from __future__ import annotations

import pyvips

SIGMA = 1.5
"""Pixels of the window."""
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ssim(one: pyvips.Image, other: pyvips.Image) -> float:
    """1 for equal pictures (sRGB, 8 bits), less the less alike they are. Raises ``ValueError`` for other sizes."""
    if (one.width, one.height) != (other.width, other.height):
        raise ValueError(f"{one.width} × {one.height} pixels are held against {other.width} × {other.height}")
    a, b = _luminance(one), _luminance(other)
    mean_a, mean_b = _window(a), _window(b)
    variances = _window(a * a) - mean_a**2 + _window(b * b) - mean_b**2
    covariance = _window(a * b) - mean_a * mean_b
    alike = (2 * mean_a * mean_b + C1) * (2 * covariance + C2)
    return float((alike / ((mean_a**2 + mean_b**2 + C1) * (variances + C2))).avg())


def _luminance(image: pyvips.Image) -> pyvips.Image:
    return image[:3].cast("float").recomb([[0.2126, 0.7152, 0.0722]])


def _window(plane: pyvips.Image) -> pyvips.Image:
    return plane.gaussblur(SIGMA, min_ampl=0.01, precision="float")
