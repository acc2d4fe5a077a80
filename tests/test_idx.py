"""The IDX reader: what it returns, what it refuses, and how much memory it takes to refuse."""

from __future__ import annotations

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastnn.datasets import read_idx
from fastnn.datasets.idx import CHUNK

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def header(code, *shape):
    return bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)


def encode(array):
    code = CODES[array.dtype.str[1:]]
    return header(code, *array.shape) + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture
def write(tmp_path):
    def write(content, name="file.idx"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.fixture(scope="module")
def scratch_file(tmp_path_factory):
    return tmp_path_factory.mktemp("idx") / "file.idx"


@given(
    st.sampled_from(sorted(CODES)).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(max_dims=4, min_side=0, max_side=5))
    ),
    st.booleans(),
)
def test_reads_back_any_array(scratch_file, array, compress):
    content = encode(array)
    scratch_file.write_bytes(gzip.compress(content) if compress else content)
    result = read_idx(scratch_file)
    assert result.dtype == array.dtype
    np.testing.assert_array_equal(result, array)


@given(st.binary(max_size=64), st.booleans())
def test_any_bytes_give_an_array_or_a_value_error(scratch_file, content, compress):
    content = b"\0\0" + content
    scratch_file.write_bytes(gzip.compress(content) if compress else content)
    try:
        result = read_idx(scratch_file)
    except ValueError:
        return
    assert encode(result) == content


@given(st.data())
def test_a_damaged_gzip_gives_the_array_or_a_value_error(scratch_file, data):
    array = np.arange(50, dtype=np.int16)
    content = bytearray(gzip.compress(encode(array), mtime=0))
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    scratch_file.write_bytes(content)
    try:
        result = read_idx(scratch_file)
    except ValueError:
        return
    # Damage that passes is in the time and flags of the gzip header, which have no checksum.
    np.testing.assert_array_equal(result, array)


@pytest.mark.parametrize("dtype", sorted(CODES))
def test_result_is_native_contiguous_and_writeable(write, dtype):
    result = read_idx(write(encode(np.arange(6, dtype=dtype).reshape(2, 3))))
    assert result.dtype.isnative
    assert result.flags.c_contiguous
    assert result.flags.writeable


def test_gzip_is_recognised_by_content_not_by_name(write):
    array = np.arange(3, dtype=np.uint8)
    np.testing.assert_array_equal(read_idx(write(encode(array), "plain.gz")), array)
    np.testing.assert_array_equal(read_idx(write(gzip.compress(encode(array)), "packed")), array)


def test_reads_an_array_of_several_chunks(write):
    array = np.arange(CHUNK // 2 + 1, dtype=np.int32)
    np.testing.assert_array_equal(read_idx(write(encode(array))), array)


def test_reads_32_dimensions(write):
    assert read_idx(write(header(0x08, *[1] * 32) + b"\7")).shape == (1,) * 32


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "starts with b''"),
        (b"\0\0\x08", "starts with"),
        (b"\1\0\x08\1" + bytes(4), "two zero bytes"),
        (header(0x0A, 1) + b"\0", "IDX type 0x0A"),
        (header(0x08), "0 dimensions"),
        (header(0x08, *[1] * 33) + b"\0", "33 dimensions"),
        (header(0x08, 1, 1)[:-1], "ends inside its header"),
        (header(0x0B, 3) + bytes(5), r"ends after 5 bytes of data; need 6, .* shape \(3,\)"),
        (header(0x0B, 3) + bytes(7), "has bytes after its data; need exactly"),
        (header(0x08, 0) + b"\0", "has bytes after its data; need exactly"),
        (header(0x08, 2**32 - 1, 2**32 - 1, 2), "states the shape"),
        (header(0x08, 0, 2**32 - 1, 2**32 - 1), "states the shape"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_malformed_content_is_refused_in_one_line(write, content, message, pack):
    path = write(pack(content))
    with pytest.raises(ValueError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", range(3, 40, 6))
def test_truncated_gzip_is_refused(write, length):
    content = gzip.compress(encode(np.arange(20, dtype=np.uint8)))
    with pytest.raises(ValueError, match="corrupt or truncated gzip"):
        read_idx(write(content[:length]))


def test_gzip_with_a_wrong_checksum_is_refused(write):
    content = bytearray(gzip.compress(encode(np.arange(20, dtype=np.uint8))))
    content[-8] ^= 1  # The last eight bytes are the CRC-32 and the length.
    with pytest.raises(ValueError, match="corrupt or truncated gzip"):
        read_idx(write(content))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.idx"):
        read_idx(tmp_path / "absent.idx")


def test_a_folder_is_refused_by_name(tmp_path):
    with pytest.raises(OSError, match=tmp_path.name):
        read_idx(tmp_path)


def peak_bytes(path):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="as its header states the shape"):
            read_idx(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_header_that_declares_a_terabyte_allocates_no_more_than_the_file_justifies(write):
    path = write(header(0x08, 2**20, 2**20) + bytes(100))
    assert peak_bytes(path) < 2 * CHUNK  # A chunk to read into, and room for Python's own objects.


def test_a_gzip_bomb_stops_soon_after_the_declared_size(write):
    bomb = gzip.compress(header(0x08, 10) + bytes(64 * CHUNK), compresslevel=1)
    assert peak_bytes(write(bomb)) < 2 * CHUNK  # As above; the bomb holds 64 chunks.
