"""One QEMU machine: started, watched by its serial line, and gone whatever happens."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.lab.packages import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

_PR_SET_PDEATHSIG: Final = 1


def _die_with_parent() -> None:
    # runs in the child: even if this process is killed with -9, QEMU ends
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Machine:
    """A running QEMU; use it as a context manager."""

    def __init__(self, arguments: Sequence[str], folder: Path) -> None:
        self._log_path = folder / "boot.log.partial"
        # a socket's name must be short
        self._sockets = tempfile.TemporaryDirectory(prefix="vmlab-")
        self._serial_path = Path(self._sockets.name) / "serial"
        self._monitor_path = Path(self._sockets.name) / "monitor"
        self._command = [
            "qemu-system-x86_64",
            *("-nographic", "-no-reboot", "-net", "none", "-accel", "tcg,thread=multi"),
            *("-chardev", f"socket,id=s,path={self._serial_path},server=on,wait=off"),
            *("-serial", "chardev:s"),
            *("-monitor", f"unix:{self._monitor_path},server=on,wait=off"),
            *arguments,
        ]
        self._seen = b""

    def __enter__(self) -> Machine:  # noqa: PYI034 - Self is in typing from 3.11 on only
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - this program has one thread
        )
        try:
            self._serial = self._connect(self._serial_path)
        except BaseException:
            self._process.kill()  # nobody calls __exit__ for what was not entered
            self._process.wait()
            self._sockets.cleanup()
            raise
        self._serial.settimeout(0.5)
        self._log = self._log_path.open("wb")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._serial.close()
        self._log.close()
        self._sockets.cleanup()

    @property
    def log(self) -> str:
        """What came over the serial line."""
        return self._seen.replace(b"\r", b"").decode("latin-1")

    def wait_for(self, text: str, seconds: float, times: int = 1) -> None:
        """Until a text has come over the serial line, so many times.

        Raises:
            LabError: it did not come in time, or the machine ended first.
        """
        end = time.monotonic() + seconds
        while self.log.count(text) < times:
            if self._process.poll() is not None and not self._pump():
                raise LabError(f"QEMU ended before {text!r}: ...{self.log[-1500:]}")
            if time.monotonic() > end:
                raise LabError(f"no {text!r} in {seconds} s: ...{self.log[-1500:]}")
            self._pump()

    def wait_for_end(self, seconds: float) -> None:
        """Until the machine powers off."""
        end = time.monotonic() + seconds
        while self._process.poll() is None:
            if time.monotonic() > end:
                raise LabError(f"still running after {seconds} s: ...{self.log[-1500:]}")
            self._pump()
        while self._pump():
            pass

    def type(self, data: bytes) -> None:
        """Send to the serial line, slowly enough for an emulated UART."""
        for byte in data:
            self._serial.sendall(bytes([byte]))
            time.sleep(0.05)

    def monitor(self, command: str, seconds: float = 120) -> str:
        """A command to QEMU's monitor, and its answer."""
        with self._connect(self._monitor_path) as connection:
            connection.settimeout(seconds)
            self._answer(connection)
            connection.sendall(command.encode() + b"\n")
            return self._answer(connection)

    def _answer(self, connection: socket.socket) -> str:
        text = b""
        while not text.endswith(b"(qemu) "):
            piece = connection.recv(4096)
            if not piece:
                break
            text += piece
        return text.decode("latin-1")

    def _connect(self, path: Path) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        for _ in range(200):
            try:
                connection.connect(str(path))
            except OSError:
                if self._process.poll() is not None:
                    break
                time.sleep(0.05)
            else:
                return connection
        self._process.kill()  # else its output may have no end to wait for
        out = self._process.stdout.read(800) if self._process.stdout else b""
        raise LabError(f"QEMU did not start: {out!r}")

    def _pump(self) -> bool:
        with contextlib.suppress(TimeoutError):
            piece = self._serial.recv(65_536)
            self._seen += piece
            self._log.write(piece)
            self._log.flush()
            if not piece:
                time.sleep(0.05)
            return bool(piece)
        return False
