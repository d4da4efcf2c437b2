"""Hints of the client choose among what needs no signature."""

from __future__ import annotations

from lightfast.signing import Scheme
from lightfast.spec import Rules
from lightfast.web.wishes import VariantPolicy


def width(query: list[tuple[str, str]], fields: dict[str, str], *, open: bool = False) -> object:
    policy = VariantPolicy(Rules(), open=open, keys=(), scheme=Scheme.HMAC, auto_format=False, hints=True)
    wish, _ = policy.wish(query, "/images/a", "", fields, 0.0)
    assert wish.variant is not None
    return wish.variant.width


def test_hints_lead_to_nothing_that_needs_a_signature() -> None:
    assert width([("w", "640")], {"sec-ch-dpr": "3"}) == 1920
    assert width([("w", "1920"), ("h", "1200"), ("fit", "crop")], {"sec-ch-dpr": "2"}) == 3840
    assert width([("w", "1920"), ("h", "1200"), ("fit", "crop")], {"sec-ch-dpr": "3"}) == 1920
    assert width([("w", "1920")], {"sec-ch-dpr": "3"}, open=True) == 5760
