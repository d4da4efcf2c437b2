import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightfast.http.negotiation import apply_hints, choose

AVIF, WEBP, JPEG, PNG = "image/avif", "image/webp", "image/jpeg", "image/png"
CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
FIREFOX = "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5"
SAFARI = "image/webp,image/avif,image/jxl,image/heic,video/*;q=0.8,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, JPEG),
        ("", JPEG),
        (CHROME, AVIF),
        (FIREFOX, AVIF),
        (SAFARI, AVIF),
        ("image/webp,*/*;q=0.8", WEBP),
        ("*/*", JPEG),
        ("image/*", JPEG),
        ("IMAGE/AVIF", AVIF),
        ("image/avif;q=0.5, image/webp", WEBP),
        ("image/avif;q=0.5, image/webp;q=0.501", WEBP),
        ("image/avif;q=0, image/webp;Q=0.1", WEBP),
        ("image/avif;q=0, */*", JPEG),
        ("image/avif;q=0.5, */*;q=0.8", JPEG),
        ("image/jpeg;q=0, */*", PNG),
        ("image/jpeg;q=0.1, image/*;q=0.9, */*;q=0.2", PNG),
        ("image/*;q=0, */*", None),
        ("image/*;q=0, image/webp", WEBP),
        ("*/*;q=0", None),
        ("text/html", None),
        ("image/avif;q=0.000", None),
        ("image/avif;q=1.000", AVIF),
        # no weights: too long, too large, signed, of another script, empty, twice
        ("image/avif;q=0.1234, image/webp;q=0.1", WEBP),
        ("image/avif;q=2, image/webp;q=0.1", WEBP),
        ("image/avif;q=-1, image/webp;q=0.1", WEBP),
        ("image/avif;q=\u0661, image/webp;q=0.1", WEBP),
        ("image/avif;q=, image/webp;q=0.1", WEBP),
        ("image/avif;q=0.2;q=0.9, image/webp;q=0.3", WEBP),
        ("image/avif;q=0.1, image/avif;q=0.9, image/webp;q=0.5", AVIF),
        # a range with parameters is about another representation
        ("image/avif;profile=x, image/webp;q=0.1", WEBP),
        ("image/avif;q=0.5;ext=1, image/webp;q=0.1", AVIF),
        ('image/png;a="b,image/avif", image/webp', WEBP),
        ('image/png;a="b\\",image/avif", image/webp', WEBP),
        ('image/png;a="b, image/avif', JPEG),
        (" , ,image/webp , ", WEBP),
        ("image/webp ; q=0.5 ;; , image/avif; q=0.4", WEBP),
        ("image/avif image/webp, image/webp;q=0.1", WEBP),
        ("garbage", JPEG),
        ("image", JPEG),
    ],
)
def test_the_best_format_that_the_client_takes(accept: str | None, chosen: str | None) -> None:
    assert choose(accept, [AVIF, WEBP], [JPEG, PNG]) == chosen


def test_only_what_can_be_made_is_chosen() -> None:
    assert choose(CHROME, [WEBP], [JPEG]) == WEBP
    assert choose(CHROME, [], [PNG]) == PNG
    assert choose(CHROME, [], []) is None
    assert choose(None, [AVIF], []) is None


@pytest.mark.parametrize("piece", ['"\\', '\\"', '"', ",", ";", "a/a;", 'a/a;a="', "a/a;q=1,", " ", "\t;"])
@pytest.mark.timeout(20)  # in quadratic time it would be minutes
def test_no_accept_costs_more_than_linear_time(piece: str) -> None:
    choose(piece * (200_000 // len(piece)), [AVIF], [JPEG])


@given(st.text('image/avifwebp*;q=01., "\\', max_size=60))
def test_any_text_is_taken(accept: str) -> None:
    assert choose(accept, [AVIF, WEBP], [JPEG]) in (AVIF, WEBP, JPEG, None)


@given(st.permutations([(AVIF, 300), (WEBP, 700), (JPEG, 500), ("*/*", 100)]))
def test_the_order_of_an_accept_means_nothing(ranges: list[tuple[str, int]]) -> None:
    accept = ", ".join(f"{range_};q=0.{weight}" for range_, weight in ranges)
    assert choose(accept, [AVIF, WEBP], [JPEG, PNG]) == WEBP


SIZES = (64, 128, 256, 512)


@pytest.mark.parametrize(
    ("query", "hints", "changed"),
    [
        ("w=64", {}, "w=64"),
        ("w=64", {"sec-ch-dpr": "2"}, "w=64 dpr=2"),
        ("w=64 dpr=3", {"sec-ch-dpr": "1.5"}, "w=64 dpr=2"),
        ("w=64", {"sec-ch-dpr": "1.25"}, "w=64 dpr=1"),
        ("w=64", {"sec-ch-dpr": "0.3"}, "w=64 dpr=1"),
        ("w=64", {"sec-ch-dpr": "7"}, "w=64 dpr=3"),
        ("preset=thumb", {"sec-ch-dpr": "2"}, "preset=thumb dpr=2"),
        ("fm=webp", {"sec-ch-dpr": "2"}, "fm=webp"),
        ("w=64 dpr=2 fm=webp", {"sec-ch-width": "129", "sec-ch-dpr": "2"}, "fm=webp w=256"),
        ("width=64", {"sec-ch-width": "256"}, "w=256"),
        ("w=64", {"sec-ch-width": "9999"}, "w=512"),
        ("w=64 h=64", {"sec-ch-width": "300", "sec-ch-dpr": "2"}, "w=64 h=64 dpr=2"),
        ("h=64", {"sec-ch-width": "300"}, "h=64"),
        ("w=64", {"sec-ch-width": "0"}, "w=64"),
        ("w=64", {"sec-ch-width": "-5", "sec-ch-dpr": "1e2", "save-data": "off"}, "w=64"),
        ("w=64", {"sec-ch-width": "\u0661", "sec-ch-dpr": "2, 3"}, "w=64"),
        ("w=64", {"save-data": "on"}, "w=64 q=45"),
        ("w=64 q=75", {"save-data": "On"}, "w=64 q=45"),
        ("q=30 w=64", {"save-data": "on"}, "q=30 w=64"),
    ],
)
def test_hints_change_the_parameters(query: str, hints: dict[str, str], changed: str) -> None:
    def pairs(text: str) -> list[tuple[str, str]]:
        return [(name, value) for name, _, value in (pair.partition("=") for pair in text.split())]

    assert apply_hints(pairs(query), hints, SIZES) == pairs(changed)
