import base64
import hashlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightfast.errors import InvalidRequest
from lightfast.http.digest import repr_digest, verify_content_digest, wanted

CONTENT = b'{"hello": "world"}\n'
# The example of RFC 9530 §2 and appendix B.
SHA_256 = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"
SHA_512 = "sha-512=:YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCsyRZOtw8MjkM7iw7yZ/WkppmM44T3qg==:"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("sha-256=1", "sha-256"),
        ("sha-512=10", "sha-512"),
        ("sha-256=3, sha-512=10", "sha-512"),
        ("sha-256=10, sha-512=3", "sha-256"),
        ("sha-512=5, sha-256=5", "sha-256"),
        ("sha-256=0, sha-512=1", "sha-512"),
        ("unixsum=10, md5=9, sha-256=1", "sha-256"),
        ("sha-256=1;q=0.5", "sha-256"),
        ("sha-256=1\t,\tsha-512=2", "sha-512"),
        # What others mean by their keys is not ours to judge.
        ("crc=(1 2), x=?1, sha-256=2", "sha-256"),
        ("sha-256=0", None),
        ("md5=10", None),
        ("", None),
        # Malformed.
        ("sha-256", None),
        ("sha-256=?1", None),
        ("sha-256=11", None),
        ("sha-256=-1", None),
        ("sha-256=1.5", None),
        ("sha-256=high", None),
        ('sha-256="1"', None),
        ("sha-256=(1)", None),
        ("SHA-256=1", None),
        ("sha-256=1,", None),
        ("sha-256=1 sha-512=2", None),
        ("sha-256=\u0661", None),
        ("sha-256=1, sha-512=11", None),
    ],
)
def test_preference(value: str, expected: str | None) -> None:
    assert wanted(value) == expected


def test_the_digests_of_the_standard() -> None:
    assert repr_digest("sha-256", CONTENT) == SHA_256
    assert repr_digest("sha-512", CONTENT) == SHA_512


@pytest.mark.parametrize(
    "value",
    [
        SHA_256,
        SHA_512,
        f"{SHA_256}, {SHA_512}",
        f"md5=:AAAA:, unixsum=30637, {SHA_256}",
        "md5=:AAAA:",
        "x=(1 2)",
        f"{SHA_256};a=1",
        # Padding may be missing (RFC 9651 §4.2.7).
        SHA_256.replace("=:", ":").replace("sha-256:", "sha-256=:"),
        "",
    ],
)
def test_content_that_fits(value: str) -> None:
    verify_content_digest(value, CONTENT)


@pytest.mark.parametrize(
    ("value", "algorithm"),
    [
        (SHA_256.replace("RK", "AA"), "sha-256"),
        (SHA_512.replace("YM", "AA"), "sha-512"),
        (f"{SHA_256}, {SHA_512.replace('YM', 'AA')}", "sha-512"),
        ("sha-256=::", "sha-256"),
        (SHA_256.replace("abDg=", "abDA="), "sha-256"),
        ("sha-256=:RK/0:", "sha-256"),
        ("sha-256=:AAAA:", "sha-256"),
    ],
)
def test_content_that_differs(value: str, algorithm: str) -> None:
    with pytest.raises(InvalidRequest, match=f"does not match: the {algorithm} of"):
        verify_content_digest(value, CONTENT)


@pytest.mark.parametrize(
    "value",
    [
        SHA_256.replace(":", ""),
        SHA_256.rstrip(":"),
        SHA_256 + ",",
        SHA_256.upper(),
        "sha-256",
        "sha-256=1",
        'sha-256="RK/0"',
        "sha-256=(:AAAA:)",
        "sha-256=:A A:",
        "sha-256=:A:",
        "sha-256=:\u00e4:",
        f"{SHA_256} {SHA_512}",
    ],
)
def test_a_field_that_can_not_be_read(value: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^Content-Digest can't be read: it must be"):
        verify_content_digest(value, CONTENT)


@given(st.sampled_from(["sha-256", "sha-512"]), st.binary(), st.binary())
def test_what_is_written_verifies_its_content_only(algorithm: str, content: bytes, other: bytes) -> None:
    value = repr_digest(algorithm, content)
    verify_content_digest(value, content)
    if other != content:
        with pytest.raises(InvalidRequest):
            verify_content_digest(value, other)


@given(st.binary())
def test_the_digest_is_the_hash_in_base64(content: bytes) -> None:
    encoded = base64.b64encode(hashlib.sha256(content).digest()).decode()
    assert repr_digest("sha-256", content) == f"sha-256=:{encoded}:"


PIECES = st.sampled_from(
    ["sha-256", "sha-512", "md5", "=", ":", "AA==", ",", " ", ";", "(", ")", "?1", "@", "1", '"', "%"]
)
NOISE = st.text() | st.lists(PIECES).map("".join)


@given(NOISE)
def test_any_text_is_a_wish_or_none(value: str) -> None:
    assert wanted(value) in {None, "sha-256", "sha-512"}


@given(NOISE)
def test_any_text_is_verified_or_refused(value: str) -> None:
    with suppress(InvalidRequest):
        verify_content_digest(value, CONTENT)
