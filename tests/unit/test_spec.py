import itertools
import json
import random
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightfast.errors import InvalidRequest, SettingsError
from lightfast.spec import LISTED, ORIGINAL, Rules, Wish, canonical, encoded_as, from_canonical, parse_query, parse_wish
from lightfast.variant import Fit, Format, Variant

CLIENTS: dict[str, list[str]] = json.loads((Path(__file__).parent / "imgix_urls.json").read_text())
PRESETS = Rules(presets={"thumb": "w=200&h=200&fit=crop&fm=gif&q=80", "grey": "monochrome=888&auto=format"})


def wish(query: str, rules: Rules = PRESETS) -> Wish:
    return parse_wish(parse_query(query), rules)


def text(query: str) -> str:
    variant = wish(query).variant
    return ORIGINAL if variant is None else canonical(variant)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("w=512", "w=512"),
        ("fm=webp&w=512&h=512&fit=crop", "fit=crop&fm=webp&h=512&w=512"),
        # one pixel, the whole side, shares, decimals
        ("w=1", "w=1"),
        ("w=1.0", "w=1.0"),
        ("w=.5&h=0.50", "h=0.5&w=0.5"),
        ("w=0.33333333333333331", "w=0.3333"),
        ("w=640.5&h=00480.0", "h=480&w=641"),
        ("w=8192", "w=8192"),
        # dpr multiplies pixels, and what would be too long is sized down
        ("w=300&dpr=2", "w=600"),
        ("w=333&dpr=1.5&h=.5", "h=0.5&w=500"),
        ("w=5000&h=2500&dpr=5", "h=4096&w=8192"),
        ("w=100&h=100&dpr=2&fit=crop&pad=5&max-w=70", "fit=crop&h=200&max-w=140&pad=10&w=200"),
        ("w=1&dpr=0.1", "w=1"),
        ("dpr=2", ORIGINAL),
        ("w=0.5&dpr=2", "w=0.5"),
        # the fit matters with two sides only, or where it enlarges
        ("w=512&fit=crop", "fit=scale&w=512"),
        ("w=512&fit=scale", "fit=scale&w=512"),
        ("h=512&fit=fill", "fit=scale&h=512"),
        ("w=512&fit=min", "w=512"),
        ("w=512&fit=fillmax", "w=512"),
        ("w=512&h=64&fit=max", "h=64&w=512"),
        ("fit=max", ORIGINAL),
        ("w=5&h=5&fit=MIN", "fit=min&h=5&w=5"),
        ("max-w=5&min-h=6&w=9&h=9", "h=9&w=9"),
        ("max-w=5&min-h=6&fit=crop&w=9", "fit=crop&max-w=5&min-h=6&w=9"),
        # the aspect becomes the missing side
        ("w=640&ar=16:9&fit=crop", "fit=crop&h=360&w=640"),
        ("h=90&ar=16:9&fit=fill&dpr=2", "fit=fill&h=180&w=320"),
        ("w=5&ar=1000:1&fit=crop", "fit=crop&h=1&w=5"),
        ("w=640&ar=16:9", "w=640"),
        ("w=640&h=640&ar=16:9&fit=crop", "fit=crop&h=640&w=640"),
        ("ar=16:9&fit=crop", "ar=1.777778:1&fit=crop"),
        ("ar=0.85:1.0&fit=crop&w=0.5", "ar=0.85:1&fit=crop&w=0.5"),
        # crops
        ("w=5&h=5&fit=crop&crop=top,left", "crop=left,top&fit=crop&h=5&w=5"),
        ("w=5&h=5&fit=crop&crop=faces,%20Entropy", "crop=entropy&fit=crop&h=5&w=5"),
        ("w=5&h=5&fit=crop&crop=edges", "crop=entropy&fit=crop&h=5&w=5"),
        ("w=5&h=5&fit=crop&crop=center", "fit=crop&h=5&w=5"),
        ("w=5&h=5&crop=top", "h=5&w=5"),
        ("w=5&h=5&fit=crop&crop=focalpoint&fp-x=.25&fp-y=1", "crop=focalpoint&fit=crop&fp-x=0.25&fp-y=1.0&h=5&w=5"),
        ("w=5&h=5&fit=crop&fp-x=.25&fp-y=1", "fit=crop&h=5&w=5"),
        # the source rectangle
        ("rect=10,20,300,400", "rect=10,20,300,400"),
        ("rect=left,middle,0.5,0.5", "rect=0,0.25,0.5,0.5"),
        ("rect=right,top,200,full", "rect=right,0,200,1.0"),
        ("rect=0.0,bottom,full,100", "rect=0,bottom,1.0,100"),
        ("rect=center,bottom,.3,.25", "rect=0.35,0.75,0.3,0.25"),
        # colours: alpha in front
        ("bg=F00", "bg=ff0000"),
        ("bg=%23ff0000", "bg=ff0000"),
        ("bg=red", "bg=ff0000"),
        ("bg=8f00", "bg=88ff0000"),
        ("bg=80ff0001", "bg=80ff0001"),
        ("mono=DarkGrey", "monochrome=a9a9a9"),
        # the rest
        ("or=90", "or=6"),
        ("orient=0", "or=1"),
        ("rot=0&blur=0&bri=-0&con=0.4&pad=0&lossless=false&flip=", ORIGINAL),
        ("rot=359&blur=2000&bri=-100&con=100&sat=-5.5&sharp=7", "blur=2000&bri=-100&con=100&rot=359&sat=-6&sharp=7"),
        ("flip=VH&trim=color", "flip=hv&trim=auto"),
        ("fm=png&q=50&lossless=1", "fm=png"),
        ("fm=webp&q=50&lossless=True", "fm=webp&lossless=1"),
        ("fm=jpg&q=50&lossless=1", "fm=jpg&q=50"),
        ("q=50&lossless=1", "lossless=1&q=50"),
        ("auto=compress", "q=45"),
        ("auto=compress&q=60", "q=60"),
        # what is not there
        ("", ORIGINAL),
        ("v=abc&download=1&s=x&ixlib=js-3.8.0&expires=5&w64=NTEy&txt=hello&fast=1&unknown", ORIGINAL),
        ("W=512&w%20=5", ORIGINAL),
        ("w=", ORIGINAL),
        ("w=512&w=", "w=512"),
        ("w=512&w=64", "w=64"),
        ("w=64&width=512&f=crop&height=512", "fit=crop&h=512&w=512"),
        ("%77=%35%31%32", "w=512"),
        ("preset=thumb", "fit=crop&fm=gif&h=200&w=200"),
        ("preset=thumb&fm=webp&dpr=2", "fit=crop&fm=webp&h=400&q=80&w=400"),
    ],
)
def test_a_query_has_one_canonical_text(query: str, expected: str) -> None:
    assert text(query) == expected
    assert text(expected) == expected


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("w=0", "1 to 8192"),
        ("w=-5", "1 to 8192"),
        ("w=8193", "1 to 8192"),
        ("w=0.00001", "above 0"),
        ("w=" + "9" * 5000, "1 to 8192"),
        ("w=1e3", "1 to 8192"),
        ("w=0x10", "1 to 8192"),
        ("w=1_0", "1 to 8192"),
        ("w=+5", "1 to 8192"),
        ("w=%2B5", "1 to 8192"),
        ("w=%205", "1 to 8192"),
        ("w=5%0A", "1 to 8192"),
        ("w=5,5", "1 to 8192"),
        ("w=5.", "1 to 8192"),
        ("w=nan", "1 to 8192"),
        ("w=inf", "1 to 8192"),
        ("w=%D9%A1%D9%A2", "1 to 8192"),
        ("w=%EF%BC%95", "1 to 8192"),
        ("w=%FF", "1 to 8192"),
        ("w=%zz", "1 to 8192"),
        ("w=5%00", "1 to 8192"),
        ("h=abc", "1 to 8192"),
        ("max-w=0.5", "1 to 8192"),
        ("dpr=0", "0.1 to 5"),
        ("dpr=5.1", "0.1 to 5"),
        ("ar=16", "16:9"),
        ("ar=16:0", "16:9"),
        ("ar=0:9", "1:1000"),
        ("ar=99999:1", "1000:1"),
        ("ar=-1:1", "1000:1"),
        ("fit=facearea", "clip, crop, max"),
        ("crop=top,bottom", "top,left"),
        ("crop=entropy,top", "entropy"),
        ("crop=up", "entropy"),
        ("fp-x=1.1", "0 to 1"),
        ("fp-y=-0.1", "0 to 1"),
        ("rect=1,2,3", "x,y,width,height"),
        ("rect=1,2,3,4,5", "x,y,width,height"),
        ("rect=1,2,0,4", "x,y,width,height"),
        ("rect=1.0,2,3,4", "x,y,width,height"),
        ("rect=middle,2,3,4", "x,y,width,height"),
        ("rect=-1,2,3,4", "x,y,width,height"),
        ("or=9", "0 to 8"),
        ("or=45", "0 to 8"),
        ("rot=360", "0 to 359"),
        ("rot=-90", "0 to 359"),
        ("flip=x", "h, v and hv"),
        ("trim=alpha", "auto or color"),
        ("pad=-1", "0 to 4096"),
        ("bg=ff", "hex"),
        ("bg=12345", "hex"),
        ("bg=%23%23fff", "hex"),
        ("bg=gggggg", "hex"),
        ("bg=%D9%A1%D9%A1%D9%A1", "hex"),
        ("monochrome=notacolour", "hex"),
        ("bri=101", "-100 to 100"),
        ("con=-101", "-100 to 100"),
        ("sat=x", "-100 to 100"),
        ("blur=2001", "0 to 2000"),
        ("sharp=101", "0 to 100"),
        ("fm=jpeg", "avif, webp, jpg, pjpg, png, gif"),
        ("q=0", "1 to 100"),
        ("q=101", "1 to 100"),
        ("lossless=yes", "true, 1"),
        ("auto=formt", "format and compress"),
        ("preset=nothing", "thumb, grey"),
    ],
)
def test_a_bad_value_is_said_to_be_bad(query: str, said: str) -> None:
    name, value = parse_query(query)[0]
    with pytest.raises(InvalidRequest) as caught:
        wish(query)
    message = str(caught.value)
    assert message.startswith(f"{name} is {value[:64]!r}"[:60])
    assert said in message
    assert len(message) < 400


@pytest.mark.parametrize("query", ["w=100&pad=50", "w=100&h=20&pad=10", "w=5000&ar=1:2&fit=crop"])
def test_what_does_not_go_together_is_refused(query: str) -> None:
    with pytest.raises(InvalidRequest):
        wish(query)


def test_too_many_parameters_are_refused() -> None:
    assert len(parse_query("&".join("a=1" for _ in range(100)))) == 100
    with pytest.raises(InvalidRequest, match="100"):
        parse_query("&".join("a=1" for _ in range(101)))


def test_auto_adds_up() -> None:
    for query in ("auto=format,compress", "auto=compress&auto=format", "auto=Format,%20enhance&auto=compress"):
        assert wish(query) == Wish(Variant(quality=45), negotiate=True)
    assert wish("auto=format") == Wish(Variant(), negotiate=True)
    assert wish("auto=format&fm=jpg&w=64") == Wish(Variant(width=64, format=Format.JPG), negotiate=True)
    assert wish("auto=enhance") == Wish(None)


def test_a_format_chosen_later_leaves_one_value() -> None:
    variant = wish("w=512&q=75&lossless=1").variant
    assert variant is not None
    assert canonical(encoded_as(variant, Format.PNG)) == text("w=512&fm=png")
    assert canonical(encoded_as(variant, Format.AVIF, fast=True)) == "fast=1&fm=avif&lossless=1&w=512"


def test_presets_are_checked_when_they_are_set_up() -> None:
    for query in ("w=0", "preset=thumb", "w=10&pad=9"):
        with pytest.raises(SettingsError, match="'bad'"):
            Rules(presets={"bad": query})


# Every value that a parameter may have, or nearly.
_FRACTIONS = st.decimals(0, 1, places=6).map(str)
_SIDES = st.one_of(st.integers(1, 8192).map(str), st.decimals("0.0001", 1, places=4).map(str))
_OFFSETS = st.one_of(
    st.integers(0, 9999).map(str), st.decimals(0, "0.9999", places=5).filter(lambda x: x < 0.9999).map(str)
)
_COLOURS = st.from_regex(r"\A#?([0-9a-fA-F]{3,4}|[0-9a-fA-F]{6}|[0-9a-fA-F]{8})\Z")
_VALUES: dict[str, st.SearchStrategy[str]] = {
    "w": _SIDES,
    "h": _SIDES,
    "dpr": st.decimals("0.1", 5, places=2).map(str),
    "ar": st.tuples(st.integers(1, 99), st.decimals("0.1", 99, places=2)).map(lambda pair: f"{pair[0]}:{pair[1]}"),
    "fit": st.sampled_from(Fit).map(str),
    "crop": st.sampled_from(["top", "bottom,left", "right,top", "center", "entropy", "focalpoint", "faces"]),
    "fp-x": _FRACTIONS,
    "fp-y": _FRACTIONS,
    "rect": st.tuples(
        st.one_of(_OFFSETS, st.sampled_from(["left", "center", "right"])),
        st.one_of(_OFFSETS, st.sampled_from(["top", "middle", "bottom"])),
        st.one_of(_SIDES, st.just("full")),
        st.one_of(_SIDES, st.just("full")),
    ).map(",".join),
    "or": st.sampled_from(["0", "1", "5", "8", "90", "180", "270"]),
    "rot": st.integers(0, 359).map(str),
    "flip": st.sampled_from(["h", "v", "hv"]),
    "trim": st.sampled_from(["auto", "color"]),
    "bg": _COLOURS,
    "monochrome": _COLOURS,
    "blur": st.integers(0, 2000).map(str),
    "sharp": st.integers(0, 100).map(str),
    "fm": st.sampled_from(Format).map(str),
    "q": st.integers(1, 100).map(str),
    "lossless": st.sampled_from(["true", "0"]),
    "auto": st.sampled_from(["format", "compress", "format,compress"]),
    **{name: st.integers(1, 8192).map(str) for name in ("max-w", "max-h", "min-w", "min-h")},
    **{name: st.integers(-100, 100).map(str) for name in ("bri", "con", "sat")},
}
_QUERIES = st.fixed_dictionaries({}, optional=_VALUES)


def _parse(parameters: dict[str, str]) -> Variant | None:
    try:
        return parse_wish(list(parameters.items())).variant
    except InvalidRequest as error:
        if not str(error).startswith("ar makes"):  # the only thing that these can't have together
            raise
        return None


# Thirty parameters take a while to make up.
_patiently = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@_patiently
@given(_QUERIES, st.randoms(use_true_random=False))
def test_the_canonical_text_stands_for_the_variant(parameters: dict[str, str], random: random.Random) -> None:
    variant = _parse(parameters)
    if variant is None:
        return
    key = canonical(variant)
    assert 1 <= len(key) <= 512
    assert key.isascii()
    assert quote(key, safe="=&,:.-") == key
    assert from_canonical(key) == variant
    assert wish(key).variant == (None if variant == Variant() else variant)
    pairs = list(parameters.items())
    random.shuffle(pairs)
    assert parse_wish(pairs).variant == variant
    fast = replace(variant, fast=True)
    assert from_canonical(canonical(fast)) == fast
    assert canonical(fast) != key


def test_the_longest_canonical_text() -> None:
    longest = (
        "w=0.1234&h=0.1234&max-w=8192&max-h=8192&min-w=8192&min-h=8192&ar=999.123456:1&fit=crop&crop=focalpoint&fp-x=0.1234"
        "&fp-y=0.1234&rect=0.1234,0.1234,0.1234,0.1234&or=8&rot=359&flip=hv&trim=auto&bg=80123456&bri=-100&con=-100"
        "&sat=-100&monochrome=80123456&blur=2000&sharp=100&lossless=1&q=100&pad=4000"
    )
    variant = wish(longest).variant
    assert variant is not None
    assert 280 < len(canonical(replace(variant, fast=True, format=Format.WEBP))) <= 512


@_patiently
@given(st.lists(st.tuples(st.sampled_from([*_VALUES, "pad", "preset", "x"]), st.text(max_size=12)), max_size=4))
def test_any_text_is_read_or_refused(parameters: list[tuple[str, str]]) -> None:
    try:
        found = parse_wish(parameters, PRESETS)
    except InvalidRequest:
        return
    assert found.variant is None or from_canonical(canonical(found.variant)) == found.variant


@pytest.mark.parametrize(
    "query",
    [
        "",
        "v=abc",
        "w=512",
        "w=640&q=75",
        "w=512&h=512&fit=crop&fm=webp",
        "w=640&fit=min&auto=format",
        "w=256&dpr=3&q=35",
        "w=1200&dpr=3",
        "w=512&fit=crop",
        "h=512&fit=fillmax",
        "fm=avif",
        "auto=format,compress",
        "w=64&bri=0&crop=top&rot=0",
        "w=512&bg=",
        "preset=thumb",
        "preset=thumb&dpr=2&fm=webp&q=50",
        "preset=grey",
        "dpr=4",
    ],
)
def test_anyone_may_ask(query: str) -> None:
    assert wish(query).restriction is None


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("w=513", "w"),
        ("h=1", "h"),
        ("w=0.5", "w"),
        ("w=512&h=513", "h"),
        ("w=512&dpr=1.5", "dpr"),
        ("w=512&dpr=4", "dpr"),
        ("w=2048&dpr=2", "dpr"),
        ("w=3840&dpr=3", "dpr"),
        ("w=512&h=512&fit=fill", "fit"),
        ("w=512&h=512&fit=scale", "fit"),
        ("w=640&ar=16:9&fit=crop", "ar"),
        ("ar=16:9&fit=crop", "ar"),
        ("w=64&h=64&fit=crop&crop=top", "crop"),
        ("w=64&h=64&fit=crop&crop=focalpoint&fp-x=0.1", "crop"),
        ("w=64&h=64&fit=crop&max-w=5", "max-w"),
        ("rect=0,0,5,5", "rect"),
        ("rect=center,middle,5,5", "rect"),
        ("w=64&bg=fff", "bg"),
        ("w=64&blur=1", "blur"),
        ("w=64&pad=1", "pad"),
        ("rot=90", "rot"),
        ("flip=h", "flip"),
        ("or=1", "or"),
        ("trim=auto", "trim"),
        ("monochrome=fff", "monochrome"),
        ("fm=gif", "fm"),
        ("fm=pjpg", "fm"),
        ("fm=webp&lossless=1", "lossless"),
        ("w=64&q=76", "q"),
        ("w=64&q=35&dpr=2", "q"),
        ("preset=thumb&w=64", "w"),
        ("preset=thumb&fm=gif", "fm"),
        ("preset=thumb&dpr=1.5", "dpr"),
        ("preset=grey&q=81", "q"),
    ],
)
def test_what_needs_a_signature(query: str, named: str) -> None:
    restriction = wish(query).restriction
    assert restriction is not None
    assert restriction.startswith(named)
    assert wish(query).restricted


_FREE_QUALITIES = [None, 75, 45, 50, 35]
_FREE_FORMATS = [None, Format.AVIF, Format.WEBP, Format.JPG, Format.PNG]


def _free_variants() -> set[Variant]:
    """All that anyone may ask for, found by asking for everything that is made of free parts."""
    shapes = set()
    sides = [None, *LISTED]
    for width, height, dpr, fit in itertools.product(sides, sides, (1, 2, 3), Fit):
        given = {"w": width, "h": height, "dpr": dpr, "fit": fit}
        found = parse_wish([(name, str(value)) for name, value in given.items() if value is not None])
        sized = found.variant is not None and (found.variant.width or found.variant.height)
        if not found.restricted and (sized or dpr == 1):
            qualities = [
                quality for quality in _FREE_QUALITIES if quality not in {2: (35,), 3: (50,), 1: (50, 35)}[dpr]
            ]
            shapes |= {replace(found.variant or Variant(), quality=quality) for quality in qualities}
    return {encoded_as(shape, format) for shape in shapes for format in _FREE_FORMATS}


FREE = _free_variants()


def test_what_anyone_may_ask_for_is_bounded() -> None:
    assert len(FREE) == 32_088  # the original among them
    assert len({replace(variant, format=None, quality=None) for variant in FREE}) == 2_044
    assert max(variant.width or 0 for variant in FREE) == max(variant.height or 0 for variant in FREE) == 3840


_NEAR_FREE = st.fixed_dictionaries(
    {},
    optional={
        **_VALUES,
        **dict.fromkeys(("w", "h", "width"), st.sampled_from([*map(str, LISTED), "256.0", "511", "0.5"])),
        "dpr": st.sampled_from(["1", "2", "3", "2.0", "4", "1.5"]),
        "q": st.sampled_from(["75", "45", "50", "35", "075", "80"]),
    },
)


@_patiently
@given(_NEAR_FREE, st.sets(st.sampled_from([*_VALUES, "width"]), max_size=30))
def test_no_spelling_leads_further(parameters: dict[str, str], dropped: set[str]) -> None:
    try:
        found = parse_wish([(name, value) for name, value in parameters.items() if name not in dropped])
    except InvalidRequest:
        return
    assert found.restricted or (found.variant or Variant()) in FREE


@pytest.mark.parametrize("client", CLIENTS)
def test_what_the_clients_of_imgix_ask_for_is_understood(client: str) -> None:
    for url in CLIENTS[client]:
        query = urlsplit(url).query
        found = wish(query)
        assert (found.variant is None) == (
            query.partition("&s=")[0] in ("", "ixlib=js-3.8.0", "ixlib=python-4.0.0") or query.startswith("s=")
        )
        assert found.negotiate == ("auto=format" in query)


def test_what_clients_get_without_a_signature() -> None:
    """With listed widths: ``unpic``, and the densities 1 to 3 of a fixed ``srcset``. A fluid one needs signatures."""
    unsigned = [url for client, urls in CLIENTS.items() if "unsigned" in client for url in urls]
    free = [urlsplit(url).query for url in unsigned if not wish(urlsplit(url).query).restricted]
    assert "w=640&fit=min&auto=format" in free
    assert "ixlib=js-3.8.0&w=256&dpr=3&q=35" in free
    assert "ixlib=js-3.8.0&auto=format&w=512" in free
    assert "ixlib=js-3.8.0&auto=format&w=100" not in free
    assert "ixlib=js-3.8.0&w=256&dpr=5&q=20" not in free
