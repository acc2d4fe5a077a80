"""Sources of streams: functions, lists of blocks and files, and what is refused of them."""

from __future__ import annotations

import ast
import gc
import re
import signal
import threading
import time
import warnings

import numpy as np
import pytest

from fastnn.datasets import stream
from fastnn.streams.ahead import PATIENCE, Ahead
from fastnn.streams.stream import Stream, blocks_of

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 3)).astype("f4")
Y = RNG.integers(0, 3, 30)
NAMES = ("a", "b", "c")


def blocks():
    for first in range(0, 30, 10):
        yield X[first : first + 10], Y[first : first + 10]


def rows_of(found):
    """All rows of a stream, in its order."""
    read = [block for part in found.parts for block in blocks_of(part)]
    inputs = [np.asarray(getattr(block.X, "X", block.X)) for block in read]
    return np.concatenate(inputs), np.concatenate([np.asarray(block.y) for block in read])


def assert_whole(found):
    inputs, labels = rows_of(found)
    np.testing.assert_array_equal(inputs, X)
    np.testing.assert_array_equal(labels, Y)


def reading_threads():
    return [each for each in threading.enumerate() if each.name == "fastnn-reading"]


# Blocks in memory, and functions that make them


class Again:
    """Can be gone through again, but has no positions."""

    def __iter__(self):
        return blocks()


@pytest.mark.parametrize("source", [blocks, list(blocks()), tuple(blocks()), Again()])
def test_blocks_come_in_order_and_again(source):
    found = stream(source)
    assert_whole(found)
    assert_whole(found)


def test_items_of_a_list_are_parts():
    assert [part.name for part in stream(list(blocks())).parts] == [
        f"source[{i}]" for i in range(3)
    ]


def test_a_generator_that_has_begun_is_refused():
    with pytest.raises(TypeError, match=r"a generator, which is gone.*function"):
        stream(blocks())


@pytest.mark.parametrize("source", [[], ()])
def test_an_empty_list_is_refused(source):
    with pytest.raises(ValueError, match="source is empty"):
        stream(source)


def test_what_is_no_source_is_refused():
    with pytest.raises(TypeError, match="source must be a path, a function"):
        stream(3)


@pytest.mark.parametrize("given", [X, (X,), (X, Y, None, 1), "text"])
def test_what_is_no_pair_is_refused(given):
    with pytest.raises(TypeError, match=r"source\[1\] must be \(X, y\)"):
        rows_of(stream([(X, Y), given]))


@pytest.mark.parametrize("source", [X, {"a": (X, Y)}])
def test_arrays_and_mappings_are_refused(source):
    with pytest.raises(TypeError, match=r"source is a (ndarray|dict), which holds no blocks"):
        stream(source)


def test_a_frame_is_refused():
    frame = pytest.importorskip("pandas").DataFrame(X)
    with pytest.raises(TypeError, match=r"a DataFrame, .*or fastnn\.Network\.train\(X, y\)"):
        stream(frame)


def test_paths_in_something_else_than_a_list_are_told_from_blocks(tmp_path):
    npz_files(tmp_path)
    with pytest.raises(TypeError, match=r"source is a generator, .*or a list of paths"):
        stream(tmp_path.glob("*"), "y")
    with pytest.raises(ValueError, match="a set, is no path or list of paths, so it holds blocks"):
        stream(set(tmp_path.glob("*")), "y")
    with pytest.raises(ValueError, match="source is empty"):
        stream(sorted(tmp_path.glob("*.none")), "y")


def test_a_stream_shows_rows_parts_and_buffer():
    assert repr(stream(list(blocks()), buffer=20)) == "Stream(3 parts, buffer=20)"
    part = stream(blocks).parts[0]._replace(rows=3000)
    assert repr(Stream((part,))) == "Stream(3,000 rows, 1 part, buffer=262144)"


@pytest.mark.parametrize(("option", "value"), [("label", "y"), ("columns", ["a"]), ("drop", ["a"])])
def test_options_of_files_are_refused_for_blocks(option, value):
    with pytest.raises(ValueError, match=f"{option} is for files"):
        stream(blocks, **{option: value})


def test_a_near_miss_of_an_option_is_named():
    with pytest.raises(TypeError, match="did you mean 'columns'"):
        stream(blocks, column=["a"])


def test_parts_are_in_another_order_in_each_epoch_and_the_same_by_seed():
    found = stream([(X, Y)] * 20)
    orders = [found.order(1, epoch, True) for epoch in (1, 2)]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == list(range(20))
    assert found.order(1, 2, True) == orders[1]
    assert found.order(1, 2, False) == list(range(20))


@pytest.mark.parametrize(
    ("rows", "shares"),
    [
        ([None] * 5, [[0, 2, 4], [1, 3]]),
        ([9, None, 9, 9], [[0, 2], [1, 3]]),
        ([10, 1, 10, 1, 10, 1], [[0, 4], [1, 2, 3, 5]]),
        ([2, 3, 9, 4], [[2], [0, 1, 3]]),
        ([0, 7, 0, 7], [[0, 1], [2, 3]]),
    ],
)
def test_ranks_share_the_parts_by_their_rows_if_these_are_known(rows, shares):
    part = stream(blocks).parts[0]
    found = Stream(tuple(part._replace(rows=count) for count in rows), buffer=7)
    assert found.shares(2) == shares
    assert [part.rows for part in found.share(1, 2).parts] == [rows[i] for i in shares[1]]
    assert found.share(1, 2).buffer == 7


def test_other_functions_say_that_a_stream_is_not_for_them():
    with pytest.raises(TypeError, match=r"a stream is read by fastnn\.Network\.train alone"):
        np.asarray(stream(blocks))


# Files without pyarrow


def npz_files(folder):
    for i in range(3):
        rows = slice(10 * i, 10 * i + 10)
        np.savez(folder / f"part-{i}.npz", X=X[rows], y=Y[rows])


def csv_files(folder):
    for i in range(3):
        rows = slice(10 * i, 10 * i + 10)
        lines = [
            ",".join([*map(repr, x), str(y)])
            for x, y in zip(X[rows].tolist(), Y[rows], strict=True)
        ]
        (folder / f"part-{i}.csv").write_text("\n".join(["a,b,c,label", *lines]))


@pytest.mark.parametrize("write", [npz_files, csv_files])
def test_a_folder_is_read_in_the_order_of_the_names(tmp_path, write):
    write(tmp_path)
    (tmp_path / "notes.md").write_text("not one of them")
    assert_whole(stream(tmp_path))


def test_a_pattern_and_a_list_of_paths_are_read(tmp_path):
    npz_files(tmp_path)
    assert_whole(stream(tmp_path / "part-*.npz"))
    assert_whole(stream(sorted(tmp_path.iterdir())))


def test_hidden_files_and_markers_in_a_folder_are_left_out(tmp_path):
    npz_files(tmp_path)
    for name in ("._part-0.npz", ".hidden.csv", "_SUCCESS", ".part-0.npz.crc"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    assert_whole(stream(tmp_path))


@pytest.mark.parametrize("pattern", ["*/*.npz", "**/*.npz", "**", "year=*", "year=202?"])
def test_a_pattern_reaches_into_folders(tmp_path, pattern):
    for i in range(3):
        folder = tmp_path / f"year=202{i}"
        folder.mkdir()
        rows = slice(10 * i, 10 * i + 10)
        np.savez(folder / "part-0.npz", X=X[rows], y=Y[rows])
    assert_whole(stream(tmp_path / pattern))


@pytest.mark.parametrize("depth", [1, 3])
def test_a_folder_of_folders_is_refused_with_a_pattern(tmp_path, depth):
    folder = tmp_path.joinpath(*"abc"[:depth])
    folder.mkdir(parents=True)
    npz_files(folder)
    with pytest.raises(FileNotFoundError, match=r"; files in folders below it are (.*)$") as found:
        stream(tmp_path)
    assert_whole(stream(ast.literal_eval(str(found.value).rpartition(" are ")[2])))


def test_a_folder_without_files_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(FileNotFoundError, match=r"holds no file that ends in [^;]*\.txt$"):
        stream(tmp_path)


def test_marks_in_the_name_of_a_folder_that_exists_are_no_pattern(tmp_path):
    folder = tmp_path / "a [1]*"
    folder.mkdir()
    npz_files(folder)
    for path in (folder, folder / "part-*.npz", folder / "**" / "part-?.npz"):
        assert_whole(stream(path))


def test_a_broken_link_in_a_folder_is_no_part_that_is_left_out(tmp_path):
    npz_files(tmp_path)
    (tmp_path / "part-3.npz").symlink_to("nowhere")
    for path in (tmp_path, tmp_path / "*"):
        with pytest.raises(FileNotFoundError, match=r"part-3\.npz"):
            rows_of(stream(path))


@pytest.mark.parametrize("path", ["", "nothing*", "no/*.npz", "nothing.npz"])
def test_what_is_no_path_is_refused(tmp_path, monkeypatch, path):
    npz_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"there is no file {re.escape(repr(path))}"):
        stream(path)


def test_a_file_that_is_named_twice_is_refused(tmp_path, monkeypatch):
    npz_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    first = min(each.name for each in tmp_path.iterdir())
    for again, also in ((first, ""), (f"./{first}", f", also as {first!r}")):
        message = f"{again!r} is named twice{also}; need each file once"
        with pytest.raises(ValueError, match=re.escape(message)):
            stream([first, again])
    with pytest.raises(ValueError, match="is named twice; need"):
        stream(["*.npz", first])
    count = len(list(tmp_path.iterdir()))
    assert len(stream("**/**/*.npz").parts) == count  # each of which glob finds twice


def test_files_of_two_kinds_are_refused(tmp_path):
    npz_files(tmp_path)
    csv_files(tmp_path)
    with pytest.raises(ValueError, match="must be of one kind"):
        stream(tmp_path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        stream(tmp_path / "*.npz")
    with pytest.raises(FileNotFoundError, match="holds no file that ends in"):
        stream(tmp_path)


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match="must end in one of"):
        stream(path)


def test_a_label_for_npz_files_is_refused(tmp_path):
    npz_files(tmp_path)
    with pytest.raises(ValueError, match=r"label is not for \.npz files"):
        stream(tmp_path, label="y")


def test_a_csv_file_without_labels_is_refused_by_name(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(ValueError, match=r"x\.csv' has no labels"):
        rows_of(stream(tmp_path))


# Parquet and Arrow


def table(arrow, rows=slice(None), **others):
    columns = {name: X[rows, i] for i, name in enumerate(NAMES)}
    return arrow.table({**columns, "label": Y[rows], **others})


@pytest.fixture
def arrow():
    return pytest.importorskip("pyarrow")


@pytest.fixture
def parquet(arrow):
    return pytest.importorskip("pyarrow.parquet")


def test_row_groups_are_parts_of_known_length(tmp_path, arrow, parquet):
    parquet.write_table(table(arrow), tmp_path / "x.parquet", row_group_size=12)
    found = stream(tmp_path / "x.parquet")
    assert [part.rows for part in found.parts] == [12, 12, 6]
    assert found.rows == 30
    assert found.parts[2].name.endswith("x.parquet', row group 2")
    assert_whole(found)


@pytest.mark.parametrize("compression", ["uncompressed", "lz4"])
def test_feather_files_are_read(tmp_path, arrow, compression):
    feather = pytest.importorskip("pyarrow.feather")
    path = tmp_path / "x.feather"
    feather.write_feather(table(arrow), path, compression=compression, chunksize=12)
    assert len(stream(path).parts) == 3
    assert_whole(stream(path))


def test_columns_are_chosen_by_name_and_in_that_order(tmp_path, arrow, parquet):
    parquet.write_table(table(arrow, city=["x"] * 30), tmp_path / "x.parquet")
    for options in ({"columns": ["c", "a"]}, {"drop": ["b", "city"]}, {"drop": [1, -1]}):
        found = stream(tmp_path, label="label", **options)
        (block,) = blocks_of(found.parts[0])
        assert set(block.X.features) == {"a", "c"}
        np.testing.assert_array_equal(block.X.X[:, block.X.features.index("c")], X[:, 2])


def test_a_label_may_be_a_position_and_text(tmp_path, arrow, parquet):
    parquet.write_table(table(arrow, kind=list("xyz") * 10), tmp_path / "x.parquet")
    (block,) = blocks_of(stream(tmp_path, label=-1, drop=["label"]).parts[0])
    assert block.y.tolist() == list("xyz") * 10


def test_pixels_stay_bytes(tmp_path, arrow, parquet):
    columns = {name: np.arange(4, dtype=np.uint8) for name in NAMES}
    parquet.write_table(arrow.table({**columns, "label": [0, 1, 0, 1]}), tmp_path / "x.parquet")
    (block,) = blocks_of(stream(tmp_path).parts[0])
    assert block.X.X.dtype == np.uint8


def test_numbers_after_pixels_are_refused(tmp_path, arrow, parquet):
    pixels = {name: np.arange(4, dtype=np.uint8) for name in NAMES}
    parquet.write_table(arrow.table({**pixels, "label": [0, 1, 0, 1]}), tmp_path / "0.parquet")
    parquet.write_table(table(arrow), tmp_path / "1.parquet")
    with pytest.raises(
        ValueError, match=r"1\.parquet': column 'a' holds float, and the first file"
    ):
        stream(tmp_path)


def test_numbers_of_rows_that_pandas_has_written_are_no_feature(tmp_path, arrow, parquet):
    parquet.write_table(table(arrow, __index_level_0__=np.arange(30)), tmp_path / "x.parquet")
    for label in ("label", -1):
        assert_whole(stream(tmp_path, label))
    (block,) = blocks_of(stream(tmp_path, columns=["__index_level_0__"]).parts[0])
    np.testing.assert_array_equal(block.X.X[:, 0], np.arange(30))


def test_decimals_are_numbers(tmp_path, arrow, parquet):
    cells = arrow.array(np.arange(30.0)).cast(arrow.decimal128(10, 2))
    parquet.write_table(table(arrow, a=cells, label=cells), tmp_path / "x.parquet")
    (block,) = blocks_of(stream(tmp_path).parts[0])
    np.testing.assert_array_equal(block.X.X[:, 0], np.arange(30))
    np.testing.assert_array_equal(block.y, np.arange(30.0))


def test_the_dtype_is_chosen(tmp_path, arrow, parquet):
    parquet.write_table(table(arrow), tmp_path / "x.parquet")
    (block,) = blocks_of(stream(tmp_path, dtype="float64").parts[0])
    assert block.X.X.dtype == np.float64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "lable"}, r"has no column 'lable'; did you mean 'label'\?"),
        ({"label": 9}, r"label must be one of the 5 columns"),
        ({"drop": ["d"]}, "has no column 'd'"),
        ({"columns": ["a", "nope"]}, "has no column 'nope'$"),
        ({"drop": ["label"]}, "drop holds 'label', which is the column of the labels"),
        ({"drop": ["a"], "columns": ["a"]}, "drop holds 'a', which is an input; need another"),
        ({}, r"column 'city' holds (large_)?string; need numbers.*drop=\['city'\]"),
    ],
)
def test_wrong_columns_are_refused(tmp_path, arrow, parquet, options, message):
    parquet.write_table(table(arrow, city=["x"] * 30), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=message):
        stream(tmp_path / "x.parquet", **options)


def test_a_file_without_a_label_says_how_to_name_it(tmp_path, arrow, parquet):
    parquet.write_table(arrow.table({"a": [1.0]}), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=r"no column 'label'.*label=\.\.\."):
        stream(tmp_path)


def test_a_file_with_other_columns_than_the_first_is_refused(tmp_path, arrow, parquet):
    parquet.write_table(table(arrow), tmp_path / "0.parquet")
    parquet.write_table(table(arrow).drop_columns(["b"]), tmp_path / "1.parquet")
    with pytest.raises(ValueError, match=r"1\.parquet' has no column 'b'"):
        stream(tmp_path)


def test_columns_of_later_files_may_be_in_another_order(tmp_path, arrow, parquet):
    parquet.write_table(table(arrow, slice(10)), tmp_path / "0.parquet")
    rest = table(arrow, slice(10, 30)).select(["label", "c", "b", "a"])
    parquet.write_table(rest, tmp_path / "1.parquet")
    assert_whole(stream(tmp_path))


def test_a_missing_value_is_refused_by_row_group_column_and_row(tmp_path, arrow, parquet):
    cells = [1.0] * 30
    cells[17] = None
    parquet.write_table(table(arrow, d=cells), tmp_path / "x.parquet", row_group_size=12)
    with pytest.raises(ValueError, match=r"row group 1: column 'd' has no value in row 5"):
        rows_of(stream(tmp_path))


def test_a_file_without_rows_is_refused(tmp_path, arrow, parquet):
    parquet.write_table(table(arrow, slice(0)), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="there are no rows in"):
        stream(tmp_path)


@pytest.mark.parametrize("end", ["parquet", "feather"])
def test_a_damaged_file_is_refused_by_name(tmp_path, arrow, end):
    (tmp_path / f"x.{end}").write_bytes(b"PAR1" + bytes(50))
    with pytest.raises(ValueError, match=rf"x\.{end}' cannot be read"):
        stream(tmp_path)


def test_a_damaged_row_group_is_refused_by_name(tmp_path, arrow, parquet):
    path = tmp_path / "x.parquet"
    parquet.write_table(table(arrow), path, row_group_size=12, use_dictionary=False)
    content = bytearray(path.read_bytes())
    begin = parquet.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    content[begin : begin + 8] = b"\xff" * 8
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"row group 1 cannot be read"):
        rows_of(stream(path))


def test_files_that_need_pyarrow_say_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "x.parquet").write_bytes(b"")
    with pytest.raises(ImportError, match=r"pip install 'fastnn-cpu\[arrow\]'"):
        stream(tmp_path)


# What a thread makes ahead


def taken(ahead):
    return list(iter(ahead.take, None))


def test_items_come_in_order_and_the_thread_ends():
    with Ahead(lambda over: iter(range(5))) as ahead:
        assert taken(ahead) == [0, 1, 2, 3, 4]
        assert ahead.take() is None
    assert not reading_threads()


def test_only_one_item_is_made_ahead():
    made = []

    def items(over):
        for i in range(9):
            made.append(i)
            yield i

    with Ahead(items) as ahead:
        ahead.take()
        until(lambda: len(made) == 2)
        time.sleep(0.05)
        assert made == [0, 1]


def until(holds):
    for _ in range(500):
        if holds():
            return
        time.sleep(0.01)
    pytest.fail("it did not happen")


def test_an_error_in_the_thread_is_raised_each_time():
    def items(over):
        yield 1
        raise OSError("gone")

    with Ahead(items) as ahead:
        assert ahead.take() == 1
        for _ in range(2):
            with pytest.raises(OSError, match="gone"):
                ahead.take()
    assert not reading_threads()


def test_a_thread_that_nobody_needs_any_more_ends():
    ahead = Ahead(lambda over: iter(range(5)))
    ahead.take()
    del ahead
    gc.collect()
    until(lambda: not reading_threads())


def test_items_are_told_to_end_early():
    def items(over):
        while not over.is_set():
            time.sleep(0.01)
        return
        yield

    with Ahead(items):
        pass
    assert not reading_threads()


def test_a_thread_that_hangs_is_waited_for_once(monkeypatch):
    over = threading.Event()

    def items(_):
        over.wait()
        yield

    waits, ahead = [], Ahead(items)
    with monkeypatch.context() as patched:
        patched.setattr(ahead._thread, "join", waits.append)
        ahead.close()
        ahead.close()
    assert waits == [PATIENCE, 0.0]
    over.set()
    ahead._thread.join()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no such signals")
def test_signals_that_are_only_taken_note_of_do_not_make_a_wait_longer(monkeypatch):
    monkeypatch.setattr("fastnn.streams.ahead.PAUSE", 0.0005)
    came, over = [], threading.Event()

    def items(_):
        over.wait(5)
        yield 1

    before = signal.signal(signal.SIGALRM, lambda *_: came.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.0004, 0.0003)  # often when a pause ends
    try:
        with Ahead(items) as ahead:
            assert ahead.take(lambda: len(came) > 1000) is None
            over.set()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_warnings_of_the_thread_are_said_where_its_items_are_taken():
    from fastnn.checks.warning import warn

    def items(over):
        warn("a word")
        yield 1

    with Ahead(items) as ahead, pytest.warns(UserWarning, match="a word") as said:
        ahead.take()
    assert said[0].filename == __file__
    with warnings.catch_warnings(), Ahead(lambda over: iter([1])) as ahead:
        assert taken(ahead) == [1]


def test_a_source_that_hangs_does_not_keep_the_process_from_ending(run_python):
    code = (
        "import threading\nfrom fastnn.streams import ahead\nahead.PATIENCE = 0.1\n"
        "def items(over):\n    threading.Event().wait()\n    yield\n"
        "with ahead.Ahead(items):\n    pass\nprint('ended')"
    )
    assert run_python("-c", code) == "ended\n"
