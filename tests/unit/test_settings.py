"""What settings of variants come to."""

from __future__ import annotations

import pytest

from lightfast.errors import SettingsError
from lightfast.settings import load_settings
from lightfast.variant import Fit, Format

PRESETS = "thumb?w=200&h=200&fit=crop card?w=400&fm=jpg"


@pytest.mark.parametrize("auto_format", [False, True])
def test_what_is_made_beforehand_is_what_a_request_gets(auto_format: bool) -> None:
    settings = load_settings(presets=PRESETS, prewarm="thumb,card w512 h=48&fm=webp", auto_format=auto_format)
    thumb, card, wide, high = settings.prewarmed()
    assert thumb.variant is not None
    assert (thumb.variant.width, thumb.variant.fit, thumb.negotiate) == (200, Fit.CROP, auto_format)
    assert card.variant is not None
    assert (card.variant.format, card.negotiate) == (Format.JPG, False)
    assert wide.variant is not None
    assert (wide.variant.width, wide.variant.format, wide.negotiate) == (512, None, auto_format)
    assert high.variant is not None
    assert (high.variant.height, high.variant.format, high.negotiate) == (48, Format.WEBP, False)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"prewarm": "poster"}, "'poster' is no variant"),
        ({"prewarm": "w=9000"}, "w is '9000'"),
        ({"presets": "thumb"}, "'thumb' is no preset"),
        ({"presets": "thumb?w=0"}, "w is '0'"),
        ({"signing_keys": "short"}, "at least 16 characters"),
        ({"sizes": "128 9000"}, "LIGHTFAST_SIZES"),
    ],
)
def test_what_can_not_be_used_is_named_at_the_start(wrong: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load_settings(**wrong)
