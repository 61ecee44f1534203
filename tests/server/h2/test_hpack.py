"""Header blocks, against another implementation of RFC 7541."""

from __future__ import annotations

from typing import Any

import pytest
from hpack import Decoder, Encoder, HPACKError
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.table import HeaderTable
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.server.h2.hpack import Invalid, Reader, TooLarge
from authz.server.h2.hpack_tables import CODES, STATIC

LARGEST = 65536
names = st.sampled_from([b":path", b"te", b"content-type", b"grpc-timeout", b"x-a"]) | st.binary(
    max_size=6
)
lists = st.lists(st.tuples(names, st.binary(max_size=200)), max_size=9)
blocks = st.tuples(lists, st.booleans(), st.none() | st.sampled_from([0, 64, 200, 1000, 4096]))
flips = st.none() | st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=3)


def test_tables() -> None:
    """Appendices A and B."""
    pairs = zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True)
    assert STATIC[1:] == tuple(HeaderTable.STATIC_TABLE)
    assert {(1 << n) | code: symbol for symbol, (code, n) in enumerate(pairs)} == CODES


@settings(max_examples=300)
@given(st.lists(st.tuples(blocks, flips), max_size=8))
def test_same_as_another_reader(given_blocks: list[tuple[Any, Any]]) -> None:
    """Whole connections, with changing table sizes, damaged blocks included: the same fields, or a
    refusal by both."""
    encoder, ours, theirs = Encoder(), Reader(LARGEST), Decoder(max_header_list_size=LARGEST)
    for (lines, coded, size), damage in given_blocks:
        if size is not None:
            encoder.header_table_size = size
        block = bytearray(encoder.encode(lines, huffman=coded))
        for at, octet in damage or ():
            if block:
                block[at % len(block)] = octet
        try:
            expected = [tuple(map(bytes, h[:2])) for h in theirs.decode(bytes(block), raw=True)]
        except (HPACKError, IndexError):
            with pytest.raises((Invalid, TooLarge)):
                ours.read(bytes(block))
            return
        assert ours.read(bytes(block)) == expected


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # index 0
        b"\xff\x00",  # 127: no such entry
        b"\xbe",  # 62: an empty table
        b"\x82\x20",  # a resize after a field
        b"\x3f\xe2\x1f",  # a table of 4097
        b"\x00\x85abcd",  # a string that ends too soon
        b"\xff\xff\xff\xff\xff\x7f",  # a number without end
        b"\x00\x81\xfe\x00",  # Huffman: eight bits, the last is not padding of ones
        b"\x00\x84\xff\xff\xff\xff\x00",  # Huffman: the end of the string
        b"\x00\x82\x1f\xff\x00",  # Huffman: more padding than seven bits
        b"\x40",
    ],
)
def test_invalid(block: bytes) -> None:
    with pytest.raises(Invalid):
        Reader(LARGEST).read(block)


def test_too_large() -> None:
    """A bomb: one entry of 4 kB, named again and again by one octet each."""
    block = b"\x40\x01a\x7f\xa0\x1e" + b"x" * 3999
    reader = Reader(LARGEST)

    assert len(reader.read(block)) == 1
    with pytest.raises(TooLarge):
        reader.read(b"\xbe" * 20)


def test_version_follows_the_table() -> None:
    """It stands still for blocks that mean the same when they come again."""
    reader = Reader(LARGEST)
    reader.read(b"\x82\x00\x01a\x01b")
    assert reader.version == 0
    reader.read(b"\x40\x01a\x01b")
    assert reader.version == 1
    reader.read(b"\x20")
    assert reader.version == 2
