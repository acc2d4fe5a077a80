"""Training over MPI: what ranks compute together, and how they end together."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT, SECONDS_TO_HANG

import fastnn
from fastnn.distributed import LAUNCHERS, launched_rank
from fastnn.training.shares import SplitBatches

pytest.importorskip("mpi4py")
beside = os.path.join(os.path.dirname(sys.executable), "mpiexec")
MPIEXEC = beside if os.path.exists(beside) else shutil.which("mpiexec")
if MPIEXEC is None:
    pytest.skip("mpiexec is not installed", allow_module_level=True)
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name not in LAUNCHERS},
    "PYTHONPATH": str(ROOT),
    # Open MPI refuses both unless asked; others do not know of these.
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}  # fmt: skip
SECONDS_TO_END = 10


def start(ranks, *arguments):
    return subprocess.Popen(
        [MPIEXEC, "-n", str(ranks), sys.executable, *map(str, arguments)],
        cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run(ranks, *arguments, code=0):
    """Run Python on several ranks; return what they print."""
    process = start(ranks, *arguments)
    out, err = process.communicate(timeout=SECONDS_TO_HANG)
    assert process.returncode == code, f"exit code {process.returncode}\n{out}\n{err}"
    return out, err


def on_ranks(ranks, case, *arguments):
    return run(ranks, "tests/ranks.py", case, *arguments)


@pytest.mark.parametrize("ranks", [2, 4])
def test_steps_of_every_optimizer_are_those_of_one_process_and_the_same_bits_again(ranks):
    on_ranks(ranks, "steps_of_every_optimizer")


def test_steps_in_bfloat16_are_those_of_one_process():
    on_ranks(2, "factors_in_bfloat16")


@pytest.mark.parametrize("ranks", [2, 3])
def test_every_kind_of_setting_does_what_it_does_in_one_process(ranks):
    on_ranks(ranks, "settings_of_every_kind")


def test_parameters_are_averaged_every_few_steps():
    on_ranks(2, "averages")


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_may_have_rows_of_their_own(ranks):
    on_ranks(ranks, "own_rows")


def test_a_run_on_rows_of_each_ranks_own_resumes_on_the_same_rows_alone(tmp_path):
    on_ranks(3, "checkpoints_of_own_rows", tmp_path / "run.safetensors")


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_with_rows_of_their_own_unite_the_names_of_their_classes(ranks):
    on_ranks(ranks, "classes_of_all")


def test_a_rank_may_have_whole_numbers_where_others_have_fractions():
    on_ranks(2, "whole_numbers")


def test_the_first_rank_of_a_machine_compiles_what_any_of_its_ranks_needs():
    on_ranks(2, "one_compiles_for_all")


def test_ranks_with_other_data_settings_or_versions_are_refused_by_name():
    on_ranks(2, "bad_input")


def test_what_fails_on_one_rank_is_raised_on_all():
    on_ranks(2, "failures")


def test_an_error_that_no_other_rank_knows_of_ends_all(tmp_path):
    path = tmp_path / "run.safetensors"
    process = start(2, "tests/ranks.py", "raises_alone", path)
    err = process.communicate(timeout=SECONDS_TO_HANG)[1]
    assert process.returncode != 0
    assert "rank 1 ends all ranks" in err
    assert "ZeroDivisionError" in err
    fastnn.load(path)


def test_ranks_shuffle_rows_and_parts_of_their_own_in_different_orders():
    counts, parts = np.array([50, 50]), np.array([5, 5])
    orders = [SplitBatches(counts, parts, rank, None).order(1, 1, None, True) for rank in (0, 1)]
    assert (orders[0] != orders[1]).any()
    stream = fastnn.datasets.stream([([[0.0]], [0])] * 20)
    assert stream.order(1, 1, True, rank=0) == stream.order(1, 1, True)
    assert stream.order(1, 1, True, rank=1) != stream.order(1, 1, True)


@pytest.mark.parametrize("ranks", [2, 3])
def test_a_stream_is_to_the_bit_what_arrays_with_the_rows_of_each_rank_are(ranks):
    on_ranks(ranks, "streams_are_arrays")


def test_each_rank_reads_other_parts_of_a_stream_and_about_as_many_rows():
    on_ranks(3, "each_rank_reads_its_share")


@pytest.mark.parametrize("ranks", [2, 3])
def test_a_stream_in_several_buffers_has_the_same_bits_again_and_on_all_ranks(ranks):
    on_ranks(ranks, "streams_in_several_buffers")


def test_ranks_may_have_streams_of_their_own():
    on_ranks(3, "streams_of_their_own")


@pytest.mark.parametrize("ranks", [2, 3])
def test_classes_and_weights_of_a_stream_are_those_of_one_process(ranks):
    on_ranks(ranks, "weights_of_a_stream")


def test_columns_of_a_stream_are_in_the_order_of_the_first_rank():
    on_ranks(2, "columns_in_another_order")


def test_the_first_rank_says_once_what_any_rank_warns_of_in_a_stream():
    on_ranks(3, "warnings_of_a_stream")


def test_streams_that_ranks_cannot_share_and_other_streams_are_refused_by_name():
    on_ranks(3, "streams_that_are_refused")


def test_a_part_that_one_rank_cannot_read_ends_all_after_a_step_and_the_run_resumes(tmp_path):
    on_ranks(2, "a_part_is_gone", tmp_path / "run.safetensors")


def test_a_rank_that_fails_in_its_first_pass_ends_the_others_in_theirs():
    on_ranks(2, "a_first_pass_fails")


def test_a_signal_to_a_rank_whose_source_hangs_ends_all():
    on_ranks(2, "a_source_hangs")


def test_a_parquet_file_that_changes_ends_all_ranks_by_name(tmp_path):
    pytest.importorskip("pyarrow")
    on_ranks(2, "parquet_changes", tmp_path)


def test_a_run_on_a_stream_resumes_within_an_epoch_on_the_same_parts_alone(tmp_path):
    on_ranks(3, "checkpoints_of_streams", tmp_path / "run.safetensors")
    on_ranks(2, "another_number_of_ranks", tmp_path / "run.safetensors")


def whole_run(path, ranks, kind="arrays"):
    """Return the network of a run that nothing interrupts."""
    on_ranks(ranks, "run_to_interrupt", path, "anew", 0, kind)
    return fastnn.load(f"{path}.net")


def begin(path, ranks, seconds, kind="arrays"):
    """Start a run, wait for its first epoch, and return the process and those of the ranks."""
    process = start(ranks, "tests/ranks.py", "run_to_interrupt", path, "anew", seconds, kind)
    deadline = time.monotonic() + SECONDS_TO_HANG
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    pids = [int((path.parent / f"{path.name}.{rank}.pid").read_text()) for rank in range(ranks)]
    return process, pids


def is_there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def kill_and_resume(path, whole, rank, after, ranks=2):
    """Kill a rank after so many seconds; the others end, and the run resumes to the same bits."""
    process, pids = begin(path, ranks, 0.02)
    time.sleep(after)
    os.kill(pids[rank], signal.SIGKILL)
    process.communicate(timeout=SECONDS_TO_END)
    deadline = time.monotonic() + SECONDS_TO_END
    while any(map(is_there, pids)):
        assert time.monotonic() < deadline, "a rank goes on alone"
        time.sleep(0.01)
    fastnn.load(path)
    on_ranks(ranks, "run_to_interrupt", path, "resume")
    resumed = fastnn.load(f"{path}.net")
    assert np.array_equal(resumed.model.vector, whole.model.vector)


def test_a_rank_that_is_killed_ends_all_and_the_run_resumes_to_the_same_bits(tmp_path):
    whole = whole_run(tmp_path / "whole.safetensors", 2)
    for rank in range(2):
        after = np.random.default_rng().uniform(0, 0.6)
        kill_and_resume(tmp_path / f"{rank}.safetensors", whole, rank, after)


@pytest.mark.long
def test_a_rank_that_is_killed_at_fifty_random_moments(tmp_path):
    whole = whole_run(tmp_path / "whole.safetensors", 2)
    rng = np.random.default_rng()
    for i in range(50):
        path = tmp_path / f"{i}.safetensors"
        kill_and_resume(path, whole, int(rng.integers(2)), rng.uniform(0, 0.8))


@pytest.mark.parametrize("kind", ["arrays", "stream"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_one_rank_ends_all_after_a_step_and_the_run_resumes(
    tmp_path, number, code, kind
):
    path = tmp_path / "run.safetensors"
    whole = whole_run(tmp_path / "whole.safetensors", 2, kind)
    process, pids = begin(path, 2, 0.05, kind)
    os.kill(pids[1], number)
    out, err = process.communicate(timeout=SECONDS_TO_HANG)
    assert out.split() == [str(code)], err
    assert np.array_equal(fastnn.load(path).model.vector, fastnn.load(f"{path}.net").model.vector)
    on_ranks(2, "run_to_interrupt", path, "resume", 0, kind)
    assert np.array_equal(fastnn.load(f"{path}.net").model.vector, whole.model.vector)


def test_any_number_of_ranks_resumes(tmp_path):
    path = tmp_path / "run.safetensors"
    whole = whole_run(tmp_path / "whole.safetensors", 2)
    process, pids = begin(path, 2, 0.05)
    os.kill(pids[0], signal.SIGTERM)
    process.communicate(timeout=SECONDS_TO_HANG)
    on_ranks(3, "run_to_interrupt", path, "resume")
    resumed = fastnn.load(f"{path}.net")
    np.testing.assert_allclose(resumed.model.vector, whole.model.vector, rtol=1e-6, atol=1e-8)


DATA = "\n".join(f"{i % 7},{i % 3},{(i % 7 + i % 3) % 2}" for i in range(200))


def test_the_command_line_prints_and_writes_once(tmp_path):
    data, net, history = tmp_path / "d.csv", tmp_path / "net.safetensors", tmp_path / "h.csv"
    data.write_text(f"a,b,label\n{DATA}\n")
    options = ["-m", "fastnn.train", "--data", data, "--label", "label", "--epochs", "3"]
    out, err = run(2, *options, "--save", net, "--history", history)
    assert err == ""
    assert out.count("epoch  ") == 1
    assert len(history.read_text().splitlines()) == 4
    fastnn.load(net)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_command_line_shares_the_parts_of_a_stream(tmp_path, kind):
    rows = DATA.splitlines()
    for i in range(3):
        part = [row.split(",") for row in rows[i::3]]
        text = [["a", "b", "label"], *[[a, b, "no" if c == "0" else "yes"] for a, b, c in part]]
        (tmp_path / f"{i}.csv").write_text("\n".join(map(",".join, text)))
        if kind == "parquet":
            csv = pytest.importorskip("pyarrow.csv")
            parquet = pytest.importorskip("pyarrow.parquet")
            parquet.write_table(csv.read_csv(tmp_path / f"{i}.csv"), tmp_path / f"{i}.parquet")
    net = tmp_path / "net.safetensors"
    options = ["-m", "fastnn.train", "--data", tmp_path / f"*.{kind}", "--label", "label"]
    out, err = run(2, *options, "--epochs", "3", "--save", net)
    assert err == ""
    assert "200 training rows of 2 features, 2 classes, in 3 parts" in out
    assert out.count("epoch  ") == 1
    assert fastnn.load(net).classes == ("no", "yes")
    process = start(4, *options)
    err = process.communicate(timeout=SECONDS_TO_HANG)[1]
    assert process.returncode == 2
    assert err.count("the stream has 3 parts, fewer than the 4 ranks") == 1


def test_the_command_line_says_once_what_is_wrong(tmp_path):
    options = ["-m", "fastnn.train", "--data", tmp_path / "none.csv", "--label", "label"]
    process = start(2, *options)
    err = process.communicate(timeout=SECONDS_TO_HANG)[1]
    assert process.returncode == 2
    assert err.count("none.csv") == 1


def test_launchers_are_known_by_what_they_set():
    assert launched_rank({}) is None
    assert launched_rank({"PMI_SIZE": "1", "PMI_RANK": "0"}) is None
    assert launched_rank({"PMI_SIZE": "2", "PMI_RANK": "1"}) == 1
    assert launched_rank({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "0"}) == 0


def test_without_mpi4py_an_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ImportError, match=r"pip install 'fastnn-cpu\[mpi\]'"):
        fastnn.Network([1, 1], output="identity").train([[0.0]], [0.0], communicator=object())
