import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightfast.errors import Forbidden, InvalidRequest, SettingsError
from lightfast.signing import Scheme, parse_keys, sign, verify

KEY, OLD_KEY = "a key of sixteen or more", "the key of last month"
TOKEN = "lightfast-test-token"  # noqa: S105
CLIENTS: dict[str, list[str]] = json.loads((Path(__file__).parent / "imgix_urls.json").read_text())
SIGNED = [url for client, urls in CLIENTS.items() if client.endswith(", signed") for url in urls]


def check(url: str, *keys: str, now: float = 1000.0, scheme: Scheme = Scheme.HMAC) -> int | None:
    parts = urlsplit(url)
    return verify(parts.path, parts.query, keys or (KEY,), now, scheme)


@pytest.mark.parametrize("scheme", Scheme)
@pytest.mark.parametrize("url", ["/images/a", "/images/a?w=500", "https://example.com/images/a?w=500&fm=webp&v=1#top"])
def test_what_is_signed_is_accepted(url: str, scheme: Scheme) -> None:
    signed = sign(url, KEY, scheme=scheme)
    assert signed.startswith(url.partition("#")[0])
    assert check(signed, scheme=scheme) is None
    assert check(sign(url, KEY, 1001, scheme), scheme=scheme) == 1001


def test_a_known_signature() -> None:
    # printf '/images/a?fm=webp&w=500' |
    # openssl dgst -sha256 -hmac 'a key of sixteen or more' -binary | basenc --base64url
    assert (
        sign("/images/a?w=500&fm=webp", KEY) == "/images/a?w=500&fm=webp&s=T1rkKexiYWbjIyQwJ17Yz9ZRdc4uzQRKAkzrNwizXOA"
    )


@pytest.mark.parametrize("scheme", Scheme)
@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.replace("w=500", "w=501"),
        lambda url: url.replace("/a?", "/b?"),
        lambda url: url.replace("w=500&", ""),
        lambda url: url + "&q=1",
        lambda url: url.replace("expires=2000", "expires=3000"),
        lambda url: url.replace("&expires=2000", ""),
        lambda url: url + "x",
        lambda url: url[:-1],
        lambda url: url + "&s=",
        lambda url: url.partition("&s=")[0] + "&s=",
        lambda url: url.partition("&s=")[0],
        lambda url: url.upper(),
        lambda url: url + "\u0661",
        lambda url: url + "&x=\x00",
        lambda url: url + "\udc80",
    ],
)
def test_any_change_is_refused(change, scheme: Scheme) -> None:  # type: ignore[no-untyped-def]
    signed = sign("/images/a?w=500&fm=webp", KEY, 2000, scheme)
    path, _, query = change(signed).partition("?")
    with pytest.raises(Forbidden):
        verify(path, query, [KEY], 1000.0, scheme)


def test_each_key_is_good_and_no_other() -> None:
    assert check(sign("/a?w=5", OLD_KEY), KEY, OLD_KEY) is None
    for keys in [(KEY,), ("",), ()]:
        with pytest.raises(Forbidden):
            verify("/a", urlsplit(sign("/a?w=5", OLD_KEY)).query, keys, 0.0)
    with pytest.raises(Forbidden):  # an empty key is no key
        verify("/a", urlsplit(sign("/a?w=5", "")).query, ["", KEY], 0.0)


@pytest.mark.parametrize(("now", "good"), [(999.9, True), (1000.0, False), (1000.1, False)])
def test_it_is_good_until_it_expires(now: float, good: bool) -> None:
    signed = sign("/a?w=5", KEY, 1000)
    if good:
        assert check(signed, now=now) == 1000
    else:
        with pytest.raises(Forbidden, match="expired"):
            check(signed, now=now)


@pytest.mark.parametrize("expires", ["", "soon", "-1", "1e9", "\u0661\u0662", "%D9%A1", "9" * 13])
def test_an_expiry_that_is_no_number_is_said_to_be_none(expires: str) -> None:
    with pytest.raises(InvalidRequest, match="expires"):
        check(sign(f"/a?expires={expires}".replace("\u0661\u0662", "%D9%A1%D9%A2"), KEY))


def test_signing_again_replaces_what_was_there() -> None:
    assert sign(sign("/a?w=5", OLD_KEY, 1000), KEY, 2000) == sign("/a?w=5", KEY, 2000)


@pytest.mark.parametrize(
    "spelling",
    [
        "fm=webp&w=500&crop=top%2Cleft&s={s}",
        "s={s}&w=%35%30%30&crop=top,left&fm=webp",
        "&crop=top,left&&w=500&s={s}&fm=webp",
    ],
)
def test_our_own_scheme_bears_another_order_and_encoding(spelling: str) -> None:
    signature = sign("/a?w=500&crop=top,left&fm=webp", KEY).partition("&s=")[2]
    assert verify("/a", spelling.format(s=signature), [KEY], 0.0) is None


def test_the_order_of_repeated_parameters_counts() -> None:
    with pytest.raises(Forbidden):
        check(sign("/a?w=1&w=2", KEY).replace("w=1&w=2", "w=2&w=1"))


@pytest.mark.parametrize("url", SIGNED)
def test_what_the_clients_of_imgix_sign_is_accepted(url: str) -> None:
    assert check(url, KEY, TOKEN, scheme=Scheme.IMGIX) is None
    with pytest.raises(Forbidden):
        check(url, KEY, scheme=Scheme.IMGIX)


def test_the_table_of_clients_is_complete() -> None:
    assert len(SIGNED) > 50


def test_keys_of_a_setting() -> None:
    assert parse_keys("") == ()
    assert parse_keys(f" {KEY} ,{OLD_KEY},") == (KEY, OLD_KEY)
    with pytest.raises(SettingsError, match="16"):
        parse_keys(f"{KEY},short")


@given(st.text("/?&=%s ,+abé\x00\ud800".replace("\ud800", ""), max_size=40), st.sampled_from(Scheme))
def test_any_query_is_refused_or_accepted_without_other_errors(query: str, scheme: Scheme) -> None:
    with pytest.raises(Forbidden):
        verify("/a", query, [KEY], 0.0, scheme)


@given(st.lists(st.tuples(st.sampled_from("abw"), st.text("%2C,x+1&", max_size=6)), max_size=5))
def test_signing_and_verifying_agree(pairs: list[tuple[str, str]]) -> None:
    query = "&".join(f"{name}={text}" for name, text in pairs)
    for scheme in Scheme:
        assert check(sign(f"/a?{query}", KEY, scheme=scheme), scheme=scheme) is None
