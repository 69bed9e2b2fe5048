"""Another library in a process of its own, in the environment that has it."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from .workers.protocol import Task

WORKERS = Path(__file__).resolve().parent / "workers"
Settings = Mapping[str, float | int | bool | str]

# Which of these a package asks for, and when it is too late, differs: all are set before it is imported.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


class Failed(RuntimeError):
    """The other library raised, ended, or took too long."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """A picture and the seconds that it took the other library."""

    x: np.ndarray[Any, Any]
    cpu: float
    wall: float


@dataclasses.dataclass(frozen=True)
class Peer:
    """Another library: the packages that its script in ``workers/`` imports."""

    name: str
    script: str
    packages: tuple[str, ...]

    @property
    def variable(self) -> str:
        """The environment variable that names its interpreter."""
        return f"PNP_PEERS_{self.name.upper().replace('-', '_')}"

    @property
    def python(self) -> str:
        """Its interpreter: this one unless the variable says otherwise."""
        return os.environ.get(self.variable, sys.executable)

    def versions(self) -> str | None:
        """The versions of its packages in its environment; None where one is absent. Nothing is imported."""
        return _versions(self.python, self.packages)


@functools.cache
def _versions(python: str, packages: tuple[str, ...]) -> str | None:
    code = "import importlib.metadata as m, sys; print(', '.join(f'{p} {m.version(p)}' for p in sys.argv[1:]))"
    try:
        done = subprocess.run([python, "-c", code, *packages], capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


class Worker:
    """A library's script, kept running: what it compiles at its first call stays compiled.

    It counts its own seconds, around the method alone. A script that ended is started again at the next request.
    """

    def __init__(self, script: Path, python: str, *, threads: int = 1, limit: float = 600.0) -> None:
        self.command, self.threads, self.limit = [python, str(script)], threads, limit
        self.folder = tempfile.TemporaryDirectory()
        self.tasks = 0  # given so far: each has a file of its own, as workers keep what they build for one
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()
        self.folder.cleanup()

    def give(self, task: Task) -> None:
        """The task of the requests that follow."""
        self.tasks += 1
        task.save(self._path(f"task{self.tasks}.npz"))

    def ask(self, method: str, settings: Settings) -> Answer:
        """What the method makes of the task.

        Raises: Failed.
        """
        paths = {"task": str(self._path(f"task{self.tasks}.npz")), "out": str(self._path("answer.npy"))}
        line = self._exchange(json.dumps({**paths, "method": method, "settings": dict(settings)}))
        if not line:
            self._end()
            said = self._path("errors.txt").read_text(encoding="utf-8", errors="replace")
            raise Failed(f"no answer within {self.limit:g} s, or the process ended:\n{said[-2000:]}")
        reply = json.loads(line)
        if "error" in reply:
            raise Failed(reply["error"])
        return Answer(np.load(paths["out"]), reply["cpu"], reply["wall"])

    def _exchange(self, request: str) -> str:
        """The line that answers this one; empty if there is none."""
        process = self.process = self.process or self._started()
        watch = threading.Timer(self.limit, process.kill)
        watch.start()
        try:
            return _line(process, request)
        except BrokenPipeError:
            return ""
        finally:
            watch.cancel()

    def _end(self) -> None:
        """Wait until the process is gone, so that the next request starts another."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def _started(self) -> subprocess.Popen[str]:
        many = str(self.threads > 1).lower()
        flags = f"--xla_cpu_multi_thread_eigen={many} intra_op_parallelism_threads={self.threads}"
        settings = {**dict.fromkeys(THREADS, str(self.threads)), "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
        with open(self._path("errors.txt"), "w", encoding="utf-8") as errors:
            return subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **settings},
            )

    def _path(self, name: str) -> Path:
        return Path(self.folder.name) / name


def _line(process: subprocess.Popen[str], request: str) -> str:
    if process.stdin is None or process.stdout is None:
        raise ValueError("Worker: expected a process with pipes.")
    process.stdin.write(request + "\n")
    process.stdin.flush()
    return process.stdout.readline()
