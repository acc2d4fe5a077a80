"""Networks of one machine: namespaces that a bridge joins, with the delay and rate of a real one.

It needs Linux, root, ``ip`` and ``tc``, and MPICH's mpiexec.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

DEVICE = "fastnn0"  # of each namespace
# What mpiexec calls instead of ssh: it runs a command in the namespace of a host.
LAUNCHER = """#!/bin/sh
while [ "${1#10.}" = "$1" ]; do shift; done
host=${1##*.}; shift
exec ip netns exec "%s$host" sh -c "$*"
"""
ENVIRONMENT = {
    # MPICH is built with libfabric or UCX.
    "FI_PROVIDER": "tcp",
    "FI_TCP_IFACE": DEVICE,
    "UCX_TLS": "tcp,self",
    "UCX_NET_DEVICES": DEVICE,
    "MPIR_CVAR_NOLOCAL": "1",  # no shared memory, although all have one hostname
}


class Refused(RuntimeError):
    """The machine has no such networks."""


class Network:
    """Namespaces for some ranks, each with a device of some rate that delays what it sends.

    As a context it makes them and takes them away, with all that runs in them, whatever ends it.

    Parameters
    ----------
    ranks : int
    rate, delay : str
        As tc takes them, such as "10gbit" and "50us".

    Attributes
    ----------
    without_delay : str
        What the kernel says if it has no netem; then only the rate is limited.
    """

    def __init__(self, ranks: int, rate: str, delay: str) -> None:
        self.ranks, self.rate, self.delay = ranks, rate, delay
        self.prefix = f"fastnn-{os.getpid()}-"
        self.without_delay = ""
        self._leaving = contextlib.ExitStack()

    def __enter__(self) -> Network:
        if not hasattr(os, "geteuid") or os.geteuid() != 0:
            raise Refused("namespaces need root")
        for name in ("ip", "tc"):
            if shutil.which(name) is None:
                raise Refused(f"{name} is not installed (iproute2)")
        with contextlib.ExitStack() as stack:
            stack.enter_context(ended_by_sigterm())
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            stack.callback(self._remove)
            self._make()
            self._launcher = Path(folder, "launcher")
            self._launcher.write_text(LAUNCHER % self.prefix)
            self._launcher.chmod(0o755)
            self._leaving = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leaving.close()

    def command(self, mpiexec: str, *program: str) -> list[str]:
        """Return the command that starts a program in all namespaces."""
        hosts = ",".join(f"10.77.0.{i}" for i in range(1, self.ranks + 1))
        return [
            "ip", "netns", "exec", f"{self.prefix}1", mpiexec, "-launcher", "ssh",
            "-launcher-exec", str(self._launcher), "-hosts", hosts, "-iface", DEVICE,
            "-n", str(self.ranks), *program,
        ]  # fmt: skip

    def _make(self) -> None:
        middle = f"{self.prefix}0"
        _ip("netns", "add", middle)
        _ip("-n", middle, "link", "add", "bridge", "type", "bridge")
        _ip("-n", middle, "link", "set", "bridge", "up")
        for i in range(1, self.ranks + 1):
            name = f"{self.prefix}{i}"
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "link", "add", DEVICE, "type", "veth", "peer", f"p{i}", "netns", middle)
            _ip("-n", name, "address", "add", f"10.77.0.{i}/24", "dev", DEVICE)
            _ip("-n", name, "link", "set", DEVICE, "up")
            _ip("-n", middle, "link", "set", f"p{i}", "master", "bridge", "up")
            shape = ["tc", "-n", name, "qdisc", "add", "dev", DEVICE, "root"]
            try:
                _do(*shape, "netem", "delay", self.delay, "rate", self.rate, "limit", "100000")
            except Refused as error:
                self.without_delay = str(error)
                _do(*shape, "tbf", "rate", self.rate, "burst", "256kb", "latency", "100ms")

    def _remove(self) -> None:
        for i in range(self.ranks + 1):
            name = f"{self.prefix}{i}"
            if not Path("/run/netns", name).exists():
                continue
            for pid in _do("ip", "netns", "pids", name).split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            _ip("netns", "delete", name)


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the program as an exception does, so that it leaves nothing behind."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _ip(*arguments: str) -> str:
    return _do("ip", *arguments)


def _do(*command: str) -> str:
    # In a session of its own: Ctrl-C in a terminal does not reach what cleans up.
    done = subprocess.run(command, capture_output=True, text=True, start_new_session=True)
    if done.returncode:
        what = (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
        raise Refused(f"{' '.join(command)}: {what}")
    return done.stdout
