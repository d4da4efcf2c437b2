from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightfast.http.host import is_valid_host


@pytest.mark.parametrize(
    "value",
    [
        b"localhost",
        b"images.example.com",
        b"Images.Example.COM.",
        b"xn--bcher-kva.example",
        b"under_score.example",
        b"a%C3%A4.example",
        b"sub!$&'()*+;=delims",
        b"~tilde",
        b"127.0.0.1",
        b"127.0.0.1:8000",
        b"localhost:0",
        b"localhost:65535",
        b"localhost:",
        b"localhost:0080",
        b"localhost:0000065535",
        b"[::1]",
        b"[::1]:8000",
        b"[::1]:",
        b"[2001:DB8::ffff]:443",
        b"[::ffff:192.0.2.1]",
        b" localhost\t",
        b"a" * 255,
        b"a" * 255 + b":65535",
    ],
)
def test_valid(value: bytes) -> None:
    assert is_valid_host([value], "1.1")
    assert is_valid_host([value], "1.0")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b":",
        b":8000",
        b"user@example.com",
        b"user:secret@example.com",
        b"http://example.com",
        b"example.com/",
        b"example.com?x",
        b"example.com#x",
        b"example.com\\x",
        b"two words",
        b"a.example, b.example",
        b"a.example,b.example",
        b"a\x00b",
        b"a\tb",
        b"a\nb",
        b"localhost\n",
        b"a\x7f",
        b"b\xfccher.example",
        "b\u00fccher.example".encode(),
        b"<script>",
        b'"quoted"',
        b"a%zz",
        b"a%4",
        b"%",
        b"localhost:65536",
        b"localhost:99999",
        b"localhost:100000",
        b"localhost:+80",
        b"localhost:-1",
        b"localhost:8_0",
        b"localhost:http",
        b"localhost:80:80",
        b"localhost: 80",
        "localhost:\u0668\u0660".encode(),
        b"::1",
        b"[::1",
        b"::1]",
        b"[]",
        b"[:::1]",
        b"[1:2:3]",
        b"[::g]",
        b"[::1%eth0]",
        b"[::1%25eth0]",
        b"[::1]x",
        b"[::1]8000",
        b"x[::1]",
        b"[127.0.0.1]",
        b"[::256.0.0.1]",
        b"[v1.future]",
        b"a" * 256,
        b"%41" * 86,
    ],
)
def test_invalid(value: bytes) -> None:
    assert not is_valid_host([value], "1.1")
    assert not is_valid_host([value], "1.0")


@pytest.mark.parametrize("piece", [b"a", b"%41", b"a.", b":", b"["])
def test_endless_values(piece: bytes) -> None:
    assert not is_valid_host([piece * 500_000], "1.1")
    assert not is_valid_host([b"localhost:" + b"9" * 500_000], "1.1")


@pytest.mark.parametrize(
    ("values", "version", "expected"),
    [
        ([], "1.1", False),
        ([], "1.0", True),
        ([], "2", False),
        ([b"a", b"b"], "1.1", False),
        ([b"a", b"a"], "1.1", False),
        ([b"a", b"a"], "1.0", False),
        ([b"a"], "2", True),
    ],
)
def test_number_of_lines(values: list[bytes], version: str, expected: bool) -> None:
    assert is_valid_host(values, version) is expected


@given(st.lists(st.binary() | st.text("ab.:[]0129%, @").map(str.encode), max_size=3), st.sampled_from(["1.0", "1.1"]))
def test_no_bytes_raise_and_nothing_dangerous_passes(values: list[bytes], version: str) -> None:
    if is_valid_host(values, version) and values:
        (value,) = values
        assert value.strip(b" \t")
        assert not set(value.strip(b" \t")) & set(b'@/?#\\ ,"<>')
        assert all(0x20 < byte < 0x7F for byte in value.strip(b" \t"))


@given(st.ip_addresses() | st.from_regex(r"\A[a-z][a-z0-9-]{0,20}(\.[a-z0-9]{1,9}){0,3}\Z"), st.integers(0, 65535))
def test_names_and_addresses_with_ports(host: object, port: int) -> None:
    name = f"[{host}]" if isinstance(host, IPv6Address) else str(host)
    assert is_valid_host([name.encode()], "1.1")
    assert is_valid_host([f"{name}:{port}".encode()], "1.1")
    assert not is_valid_host([f"{name}:{port + 65536}".encode()], "1.1")
