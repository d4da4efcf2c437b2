"""Records: ours come back, other applications' are understood, anything else is broken and says why."""

from __future__ import annotations

import base64
import dataclasses
import json
import math

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support import etag_of

from lightfast.errors import BrokenRecord
from lightfast.model import Image, Meta, Predecessor
from lightfast.stores import records

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360f8cf500f0003860181a9f1d5b70000000049454e44ae426082"
)
CONTENT = b"\xfb\xff\xfe no image \x00"
TEXT = base64.b64encode(CONTENT).decode()
URL_SAFE = base64.urlsafe_b64encode(CONTENT).decode()
NOTHING = dict.fromkeys(records.FIELDS)


def read(record):
    raw = record if isinstance(record, bytes) else json.dumps(record).encode()
    return records.image_from_json("a", raw, None)


metas = st.builds(
    Meta,
    id=st.just("a"),
    etag=st.just(""),
    media_type=st.sampled_from(["image/png", "image/webp", "image/x-own"]),
    size=st.just(0),
    width=st.none() | st.integers(1, 2**31),
    height=st.none() | st.integers(1, 2**31),
    created=st.none() | st.floats(0, 2e11, allow_nan=False),
    replaced=st.booleans(),
    expires=st.none() | st.floats(0, 2e9),
)


def complete(meta, content):
    return dataclasses.replace(meta, etag=etag_of(content), size=len(content))


@given(metas, st.binary(max_size=300))
def test_json_comes_back(meta, content):
    meta = complete(meta, content)
    raw = records.json_from(meta, records.encode_content(content))
    assert records.image_from_json("a", raw, meta.expires) == Image(meta, content)
    assert base64.b64decode(json.loads(raw)["base64_data"]) == content


@given(metas, st.binary(max_size=300))
def test_a_hash_comes_back(meta, content):
    meta = complete(meta, content)
    flat = records.hash_from(meta, content)
    values = (value if isinstance(value, bytes) else value.encode() for value in flat[1::2])
    fields = dict(zip(flat[::2], values, strict=True))
    stored = fields.pop("content")
    assert records.image_from_hash("a", NOTHING | fields, stored, meta.expires) == Image(meta, content)
    assert records.meta_from_hash("a", NOTHING | fields, len(content), meta.expires) == meta


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (TEXT, CONTENT),
        (URL_SAFE, CONTENT),
        (URL_SAFE.rstrip("="), CONTENT),
        (TEXT.rstrip("="), CONTENT),
        (f"data:image/png;base64,{TEXT}", CONTENT),
        (f"DATA:image/png;charset=x;BASE64,{URL_SAFE}", CONTENT),
        (f"\n {TEXT[:5]}\r\n{TEXT[5:]}\t", CONTENT),
        (f" data:image/png;base64,{TEXT[:8]}\n{TEXT[8:]}", CONTENT),
        (f"data:;base64,{TEXT}", CONTENT),
    ],
)
def test_base64_as_applications_write_it(text, content):
    image = read({"base64_data": text, "mime_type": "image/x-own"})
    assert (image.content, image.meta.etag, image.meta.size) == (content, etag_of(content), len(content))


@pytest.mark.parametrize(
    "raw",
    [
        b'{"base64_data":"%s","format":"png"}',
        b'{"format":"png","base64_data" :\n"%s"}',
        b' {"nested":{"base64_data":"AAAA"},"base64_data":"%s","format":"png"} ',
        b'{"list":["base64_data","AAAA"],"base64_data":"%s","format":"png"}',
        b'{"base64_data":"AAAA","base64_data":"%s","format":"png"}',
        b'{"prompt":"\\"base64_data\\":\\"AAAA","base64_data":"%s","format":"png"}',
        b'{"prompt":"\\\\","x":"base64_data","base64_data":"%s","format":"png"}',
        b'{"nested":{"base64_data":"AAAA"},"x":"lightfast:base64","base64_data":"%s","format":"png"}',
        b'{"a":{"base64_data":"lightfast:base64"},"base64_data":"%s","format":"png"}',
        b'{"base64_data":null,"base64_data":"%s","format":"png"}',
        b'{"base64\\u005fdata":"%s","format":"png"}',
    ],
)
def test_only_the_outer_base64_data_counts(raw):
    assert read(raw.replace(b"%s", TEXT.encode())).content == CONTENT


def test_the_placeholder_of_the_quick_way_is_no_way_in():
    raw = b'{"nested":{"base64_data":"AAAA"},"base64_data":"lightfast:base64","format":"png"}'
    with pytest.raises(BrokenRecord):
        read(raw)


def test_escaped_slashes_are_slashes():
    assert (
        read(json.dumps({"base64_data": "+/+/", "format": "png"}).replace("/", "\\/").encode()).content
        == b"\xfb\xff\xbf"
    )


@pytest.mark.parametrize(
    ("fields", "media_type"),
    [
        ({"mime_type": "image/webp"}, "image/webp"),
        ({"content_type": "image/webp"}, "image/webp"),
        ({"mime_type": "image/webp", "content_type": "image/gif", "format": "png"}, "image/webp"),
        ({"mime_type": "", "content_type": None, "format": "webp"}, "image/webp"),
        ({"format": "PNG"}, "image/png"),
        ({"format": "jpg"}, "image/jpeg"),
        ({"format": "image/tiff"}, "image/tiff"),
        ({"mime_type": "Image/PNG; charset=binary"}, "image/png"),
    ],
)
def test_the_declared_type_counts_where_the_bytes_say_nothing(fields, media_type):
    meta = read({"base64_data": TEXT} | fields).meta
    assert (meta.media_type, meta.width, meta.height, meta.created, meta.replaced) == (
        media_type,
        None,
        None,
        None,
        False,
    )


def test_the_type_of_a_data_url_counts_where_no_field_says_one():
    assert read({"base64_data": f"data:image/tiff;base64,{TEXT}"}).meta.media_type == "image/tiff"
    assert read({"base64_data": f"data:image/tiff;base64,{TEXT}", "format": "bmp"}).meta.media_type == "image/bmp"
    assert records.unpack_json(b'{"base64_data":"data:image/tiff;base64,AAAA"}') == (b"\0\0\0", "image/tiff")
    assert records.unpack_json(b'{"base64_data":"AAAA"}') == (b"\0\0\0", None)


def test_the_bytes_are_believed_before_the_declaration():
    meta = read({"base64_data": base64.b64encode(PNG).decode(), "mime_type": "text/html"}).meta
    assert (meta.media_type, meta.width, meta.height) == ("image/png", 1, 1)


@pytest.mark.parametrize("declared", ["text/html", "image/svg+xml", "image/", "image/a b", "image/x\r\nA: b", "x"])
def test_other_types_are_not_trusted(declared):
    with pytest.raises(BrokenRecord, match="image"):
        read({"base64_data": TEXT, "mime_type": declared})
    with pytest.raises(BrokenRecord, match="image"):
        records.image_from_hash("a", NOTHING | {"media_type": declared.encode()}, CONTENT, None)


def test_our_fields_count_only_with_our_picture():
    own = {
        "mime_type": "image/png",
        "etag": etag_of(CONTENT),
        "width": 7,
        "height": 8,
        "created": 5.5,
        "replaced": True,
    }
    assert read({"base64_data": TEXT} | own).meta == Meta(
        "a", etag_of(CONTENT), "image/png", len(CONTENT), 7, 8, 5.5, True, None
    )
    changed = read({"base64_data": "AAAA"} | own).meta
    assert (changed.etag, changed.width, changed.created, changed.replaced) == (etag_of(b"\0\0\0"), None, None, False)
    for wrong in ({"width": "7"}, {"width": True}, {"created": math.inf}, {"created": "now"}, {"replaced": 1}):
        raw = json.dumps({"base64_data": TEXT} | own | wrong).replace("Infinity", "1e400").encode()
        try:
            meta = read(raw).meta
        except BrokenRecord:
            continue
        assert (meta.width, meta.created, meta.replaced) == (None, None, False)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "no object"),
        (b'"base64_data"', "no object"),
        (b"{}", "no text named base64_data"),
        (b'{"base64_data":1}', "no text named base64_data"),
        (b'{"base64_data":"A","format":"png"}', "no base64"),
        (b'{"base64_data":"AA=A","format":"png"}', "no base64"),
        (b'{"base64_data":"A*AA","format":"png"}', "no base64"),
        ('{"base64_data":"é","format":"png"}'.encode(), "no base64"),
        (b'{"base64_data":"data:image/png,AAAA"}', "data URL is not base64"),
        (b'{"base64_data":""}', "names no image type"),
    ],
)
def test_what_is_broken_says_why(raw, reason):
    with pytest.raises(BrokenRecord, match=reason) as error:
        read(raw)
    assert len(str(error.value)) < 150


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"etag": b"x"}, "etag"),
        ({"etag": b"A" * 32}, "etag"),
        ({"size": None}, "size"),
        ({"size": b"4"}, "size"),
        ({"size": b"+3"}, "size is no number"),
        ({"media_type": None}, "media_type"),
        ({"media_type": b"text/html"}, "media_type"),
        ({"width": b"1_0"}, "width"),
        ({"height": b"-1"}, "height"),
        ({"created": b"nan"}, "created"),
        ({"created": b"1e300"}, "created"),
        ({"created": b"\xff"}, "created"),
    ],
)
def test_a_hash_that_lies_says_where(fields, reason):
    good = {"etag": etag_of(b"abc").encode(), "size": b"3", "media_type": b"image/png"}
    assert records.meta_from_hash("a", NOTHING | good, 3, None).size == 3
    with pytest.raises(BrokenRecord, match=reason):
        records.image_from_hash("a", NOTHING | good | fields, b"abc", None)


def outcome(work, *arguments):
    try:
        return work(*arguments)
    except BrokenRecord:
        return None


json_texts = st.text(alphabet=st.sampled_from('AB+/-_=" \\\n,:{}[]datbs64_;é'), max_size=40)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | json_texts | st.just("base64_data") | st.just("lightfast:base64"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["base64_data", "mime_type", "format", "etag", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
@example(b'{"base64_data":"' + b'{"base64_data":"' * 3)
@example(b'{"format":"png","base64_data":"AAAA"')
def test_any_bytes_are_an_image_or_broken_and_both_ways_agree(raw):
    image = outcome(records.image_from_json, "a", raw, None)
    careful = outcome(records._unpack_carefully, "a", raw)
    quick = records._unpack_quickly(raw)
    if quick is not None:
        assert careful is not None
        assert (quick.content, quick.declared) == (careful.content, careful.declared)
    if image is not None:
        assert image.content == careful.content
        assert image.meta.etag == etag_of(image.content)
    before, after = b'{"base64_data":"', b'","format":"png"}'
    within = bytearray(before + raw + after)
    assert outcome(records.image_from_json, "a", within, None, len(before), len(before) + len(raw)) == image


@given(st.binary(max_size=60), st.sampled_from(["", "data:image/png;base64,", "data:;base64,"]), json_values)
def test_what_python_writes_is_read_the_quick_way(content, head, other):
    text = head + base64.b64encode(content).decode()
    raw = json.dumps({"x": other, "base64_data": text, "format": "png"}).encode()
    assert read(raw).content == content
    plain = orjson.dumps({"mime_type": "image/png", "base64_data": text, "prompt": "a cat"})
    assert records._unpack_quickly(plain).content == content


@given(st.dictionaries(st.sampled_from(records.FIELDS), st.binary(max_size=40)), st.none() | st.binary(max_size=40))
def test_any_hash_is_an_image_or_broken(fields, content):
    image = outcome(records.image_from_hash, "a", NOTHING | fields, content, None)
    assert image is None or image.content == content


def test_tombstones_come_back_and_others_say_nothing():
    meta = Meta("a", "0" * 32, "image/png", 3, 1, 1, 5.25, True, None)
    assert records.predecessor_from(records.tombstone_from(meta)) == Predecessor("0" * 32, 5.25, True)
    for other in (None, b"", b"{", b"[]", b"{}", b'{"etag":1,"created":1,"replaced":true}', b"\xff"):
        assert records.predecessor_from(other) is None
