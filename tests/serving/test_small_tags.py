"""What ``html`` writes for images below the least width that it offers: what is wanted of them holds all the same."""

from __future__ import annotations

import re
from collections.abc import Callable

from lightfast import Lightfast

Paint = Callable[..., bytes]


def room(tag: str) -> tuple[str, ...]:
    return tuple(re.findall(r' (?:width|height)="(\d+)"', tag))


async def test_a_small_image_is_changed_as_is_wanted(picture: Paint) -> None:
    async with Lightfast("memory://", signing_keys="a-key-of-16-or-more") as images:
        await images.put(picture(60, 40), id="small")
        blurred = await images.html("small", blur=200)
        assert "fm=webp&amp;blur=200&amp;v=" in blurred
        assert "srcset" not in blurred
        assert room(blurred) == ("60", "40")
        assert "fm=avif" in await images.html("small", fm="avif")
        assert room(await images.html("small", rot=90)) == ("60", "90")
        plain = await images.html("small")
        assert f'src="{await images.url("small")}"' in plain
        assert room(plain) == ("60", "40")
