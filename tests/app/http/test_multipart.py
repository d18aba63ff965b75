"""Both parsers on the same bodies; tests/app/http/test_body.py has the answers to malformed ones."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.http import multipart
from app.http.multipart import Part, TooManyParts
from app.http.problems import Problem

BOUNDARIES = st.text("abcXYZ0189'()+_,-./:=?", min_size=1, max_size=70).map(str.encode)
HEADS = st.sampled_from(
    [
        b'Content-Disposition: form-data; name="file"',
        b'Content-Disposition: form-data; name="files"; filename="a b.png"',
        b'Content-Disposition: form-data; name="image"; filename=""\r\nContent-Type: image/png',
        b'Content-Disposition: form-data; name="x"; filename="\xc3\xa4; name=y"\r\nContent-Type: image/svg+xml',
        b"Content-Type: image/png\r\nContent-Disposition: form-data; name=file",
        b'content-disposition: form-data; name="a\\"b"',
        b"Content-Type: image/png",
    ]
)


def encode(parts: list[tuple[bytes, bytes]], boundary: bytes) -> bytes:
    lines = b"".join(b"--" + boundary + b"\r\n" + head + b"\r\n\r\n" + data + b"\r\n" for head, data in parts)
    return lines + b"--" + boundary + b"--\r\n"


def contents(parts: list[Part]) -> list[tuple[str, bytes]]:
    return [(part.name, bytes(part.data)) for part in parts]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(HEADS, st.binary(max_size=200)), min_size=1, max_size=5), BOUNDARIES)
def test_both_parsers_give_the_contents_of_a_well_formed_body(
    parts: list[tuple[bytes, bytes]], boundary: bytes
) -> None:
    body = encode(parts, boundary)
    parsed = multipart.parse(body, boundary)
    assert [bytes(part.data) for part in parsed] == [data for _, data in parts]
    split = multipart.split(body, boundary)
    assert split is None or contents(split) == contents(parsed)
    common = all(head.startswith(b"Content-Disposition: form-data; name=") and b"\\" not in head for head, _ in parts)
    assert (split is not None) == common


# Nearly well-formed bodies: pieces of well-formed ones in any order, and random bytes.
PIECES = st.one_of(
    st.sampled_from(
        [
            *(b"--x", b"--x\r\n", b"\r\n--x", b"\r\n--x\r\n", b"--x--", b"\r\n--x--", b"\r\n--x--\r\n", b"--xy"),
            *(b"\r\n", b"\r\n\r\n", b"\r", b"\n", b"--", b'"', b"\\", b"\0", b": ", b";"),
        ]
    ),
    HEADS,
    HEADS.map(lambda head: head + b"\r\n\r\n"),
    st.binary(max_size=8),
)


def check_agreement(body: bytes) -> None:
    """The parsers give the same contents or `split` returns None, and `parse` raises only problems."""
    split = multipart.split(body, b"x")
    try:
        parsed = multipart.parse(body, b"x")
    except Problem as problem:
        assert problem.name == "malformed-multipart"
        assert split is None
    else:
        assert split is None or contents(split) == contents(parsed)


@pytest.mark.processes
@settings(max_examples=1000, deadline=None)
@given(st.lists(PIECES, max_size=12).map(b"".join))
def test_the_parsers_agree_on_nearly_well_formed_bodies(body: bytes) -> None:
    check_agreement(body)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.just(b'Content-Disposition: form-data; name="file"'), st.just(b"data")), max_size=3),
    st.integers(0, 400),
    st.integers(0, 255),
)
def test_the_parsers_agree_on_a_body_with_one_wrong_byte(
    parts: list[tuple[bytes, bytes]], place: int, byte: int
) -> None:
    body = bytearray(encode(parts, b"x"))
    body[place % len(body)] = byte
    check_agreement(bytes(body))


@pytest.mark.parametrize("head", [b'Content-Disposition: form-data; name="file"', b"Content-Disposition: form-data"])
def test_more_parts_than_allowed_are_refused_by_either_parser(head: bytes) -> None:
    body = encode([(head, b"")] * 4, b"x")
    assert len(asyncio.run(multipart.parse_off_loop(body, b"x", 4))) == 4
    with pytest.raises(TooManyParts, match="more than 3 parts"):
        asyncio.run(multipart.parse_off_loop(body, b"x", 3))


def test_more_parameters_in_a_header_than_allowed_are_refused() -> None:
    disposition = b'Content-Disposition: form-data; name="file"'
    boundary = b"multipart/form-data; boundary=x"
    allowed, refused = b";" * (multipart.MAX_PARAMETERS - 1), b";" * multipart.MAX_PARAMETERS
    assert contents(multipart.parse(encode([(disposition + allowed, b"1")], b"x"), b"x")) == [("file", b"1")]
    assert multipart.find_boundary(boundary + allowed) == b"x"
    assert multipart.find_boundary(b"image/png; " + refused) is None
    with pytest.raises(Problem, match="parameters"):
        multipart.parse(encode([(disposition + refused, b"1")], b"x"), b"x")
    with pytest.raises(Problem, match="parameters"):
        multipart.find_boundary(boundary + refused)


def test_a_long_body_of_an_uncommon_form_is_parsed_as_well() -> None:
    body = encode([(b"Content-Disposition: form-data; name=file", bytes(200_000))], b"x")
    assert contents(asyncio.run(multipart.parse_off_loop(body, b"x"))) == [("file", bytes(200_000))]


def test_a_malformed_body_leaves_no_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    for body in (b"--x\r\nContent[Disposition: a\r\n\r\n1\r\n--x--", b"--x\r\nA: b\r\r\n1", b"-x", b"--x--\r\nmore"):
        try:
            multipart.parse(body, b"x")
        except Problem as problem:
            assert problem.name == "malformed-multipart"
    assert caplog.records == []


@pytest.mark.parametrize("preamble", [b"This is a message in several parts.", b"--xy", b"\r\n--xy\r\n", b"-", b"\r\n"])
def test_text_before_and_after_the_parts_is_ignored(preamble: bytes) -> None:
    body = encode([(b'Content-Disposition: form-data; name="file"', b"data")], b"x")
    for extended in (preamble + b"\r\n" + body, body + b"epilogue", b"\r\n" + body):
        assert contents(multipart.parse(extended, b"x")) == [("file", b"data")]
