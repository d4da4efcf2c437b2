"""What decides on the bytes of a variant is in the version that its ETag is made of."""

from __future__ import annotations

from lightfast.imaging.geometry import Limits
from lightfast.imaging.pool import RenderPool
from lightfast.imaging.rendering import Rendering


def test_settings_that_change_variants_change_their_version() -> None:
    pool = RenderPool(threads=1)
    made = [
        Rendering(pool, Limits()).version,
        Rendering(pool, Limits(), keep_metadata=True).version,
        Rendering(pool, Limits(pixels_out=1000)).version,  # more of an animation than that is its first frame
        Rendering(pool, Limits(pixels_out=2000)).version,
    ]
    assert len(set(made)) == len(made)
    assert Rendering(pool, Limits(pixels_in=1000)).version == made[0]
