import pytest

from lightfast.variant import Length, Variant


@pytest.mark.parametrize(
    ("rect", "anchor", "region"),
    [
        ((10, 20, 300, 400), ("", ""), (10, 20, 300, 400)),
        ((0.5, 0.25, 0.5, 0.5), ("", ""), (500, 200, 500, 400)),
        ((0, 0, 100, 100), ("center", "middle"), (450, 350, 100, 100)),
        ((0, 0, 100, 100), ("right", "bottom"), (900, 700, 100, 100)),
        ((950, 0, 300, 1.0), ("", ""), (950, 0, 50, 800)),
        ((0, 0, 5000, 100), ("center", "bottom"), (0, 700, 1000, 100)),
        ((0, 0, 0.0001, 0.0001), ("right", ""), (999, 0, 1, 1)),
        ((0, 0, 1.0, 1.0), ("", ""), None),
        ((0, 0, 5000, 5000), ("", ""), None),
        ((1000, 0, 5, 5), ("", ""), None),
        (None, ("", ""), None),
    ],
)
def test_the_region_of_a_source(
    rect: tuple[Length, Length, Length, Length] | None,
    anchor: tuple[str, str],
    region: tuple[int, int, int, int] | None,
) -> None:
    assert Variant(rect=rect, rect_anchor=anchor).region(1000, 800) == region
