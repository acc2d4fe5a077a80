"""The benchmark of training over MPI: its networks of namespaces, and its model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, SECONDS_TO_HANG

sys.path.insert(0, str(ROOT / "bench"))
import networks
import scaling_mpi

NODE = scaling_mpi.Times(step=1e-3, row=1e-5, sum=1e-4)
HOLD = """
import sys, time
sys.path.insert(0, "bench")
from networks import Network
with Network(2, "1gbit", "1ms") as network:
    print(network.prefix, flush=True)
    time.sleep(1000)
"""


def test_the_model_of_an_exchange_is_two_passes_of_messages_to_all_others():
    message = 1e-5 + 4 * scaling_mpi.PARAMETERS / 4 * 1e-9
    assert scaling_mpi.exchange(4, 1e-9, 1e-5, 0.5) == pytest.approx(6 * message + 0.5)


@pytest.mark.parametrize("share", [1 / 8, 0.5])
def test_a_batch_of_the_rows_that_are_named_has_the_share_that_is_asked_for(share):
    rows = scaling_mpi.rows_for(share, 8, 0.01, NODE)
    step = NODE.computing(rows / 8) + 0.01
    assert NODE.computing(rows) / 8 / step == pytest.approx(share, rel=1e-2)


def test_without_root_networks_are_refused_with_the_reason(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    with pytest.raises(networks.Refused, match="namespaces need root"), networks.Network(2, "", ""):
        pass


def test_networks_that_are_skipped_are_named_on_the_page():
    seconds = dict.fromkeys(scaling_mpi.WAYS, 0.01)
    text = scaling_mpi.page(seconds, NODE, {"skipped": "namespaces need root"})
    assert "skipped**: namespaces need root" in text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_namespaces_are_taken_away_whatever_ends_the_program(number):
    try:
        with networks.Network(1, "1gbit", "1ms"):
            pass
    except networks.Refused as error:
        pytest.skip(str(error))
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        prefix = process.stdout.readline().strip()
        inside = subprocess.Popen(["ip", "netns", "exec", f"{prefix}1", "sleep", "1000"])
        deadline = time.monotonic() + SECONDS_TO_HANG
        while (
            not subprocess.run(["ip", "netns", "pids", f"{prefix}1"], capture_output=True).stdout
            and time.monotonic() < deadline
        ):
            time.sleep(0.01)
        process.send_signal(number)
        process.wait(SECONDS_TO_HANG)
    assert not list(Path("/run/netns").glob(f"{prefix}*"))
    assert inside.wait(SECONDS_TO_HANG) == -signal.SIGKILL
