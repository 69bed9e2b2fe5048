"""Can a stack larger than the memory it is given be streamed, killed on the way and continued, nothing done twice?"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

import pnp
from pnp.operators import Blur
from pnp.priors import TV

from .grid import Benchmark, Cell, Options, Outcome, Rows
from .pictures import Picture, chosen
from .report import Page, Section, Table, Verdict, number
from .versions import ROOT

SIGMA = 0.02
MIB = 2**20
CHUNK = 10  # frames


@dataclasses.dataclass(frozen=True)
class Stream(Cell):
    """``frames`` blurred, noisy views of a picture, reconstructed by a process that may allocate ``allowance`` MiB.

    The limit is the system's own (RLIMIT_DATA), set once everything is imported and has run once. A third of the way
    in, the process gets SIGKILL; a second one continues. Another tries to hold input and images at once, to see that
    the limit is one.
    """

    picture: Picture
    frames: int
    size: int
    allowance: int
    seed: int = 0

    def run(self) -> Outcome:
        import zarr

        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            truth = self._write(folder / "frames.zarr")
            fits = json.loads(self._start(folder, "hold").communicate()[0])["fits"]
            begin = time.perf_counter()
            first = self._start(folder, "stream")
            while self._finished(folder).sum() < self.frames // 3 and first.poll() is None:
                time.sleep(0.05)
            first.send_signal(signal.SIGKILL)
            first.communicate()
            kept = self._finished(folder)
            stamps = {file: file.stat().st_mtime_ns for file in self._chunks(folder)}
            told = json.loads(self._start(folder, "stream").communicate()[0])
            seconds = time.perf_counter() - begin
            redone = sum(file.stat().st_mtime_ns != stamp for file, stamp in stamps.items() if file.exists())
            group = zarr.open_group(str(folder / "images.zarr"), mode="r")
            sample = slice(0, CHUNK)
            x, data = np.asarray(group["x"][sample]), np.asarray(zarr.open_array(str(folder / "frames.zarr"))[sample])
            row = {
                "stack, MiB": 2 * self.frames * self.size**2 * 4 / MIB,
                "limit, MiB": float(self.allowance),
                "peak, MiB": told["peak"] / MIB,
                "whole stack fits": fits,
                "frames kept by the kill": int(kept.sum()),
                "frames redone": max(0, redone * CHUNK - (len(stamps) * CHUNK - int(kept.sum()))),
                "frames finished": int(self._finished(folder).sum()),
                "PSNR": float(pnp.psnr(torch.from_numpy(x[:, None]), truth).mean()),
                "data": float(pnp.psnr(torch.from_numpy(data[:, None]), truth).mean()),
                "seconds a frame": seconds / self.frames,
            }
            return Outcome(row, {"frame": data[0], "x": x[0], "truth": truth[0, 0].numpy()})

    def _write(self, path: Path) -> torch.Tensor:
        """The data, a chunk at a time; the views behind the first of them."""
        import zarr

        view = (self.frames, self.size, self.size)
        data = zarr.open_array(str(path), mode="w", shape=view, chunks=(CHUNK, *view[1:]), dtype="float32")
        A, generator = Blur.gaussian(1.6, view[1:]), torch.Generator().manual_seed(self.seed)
        picture = self.picture.tensor(self.size, grey=True)
        first = torch.empty(0)
        for begin in range(0, self.frames, CHUNK):
            views = torch.stack([picture.roll(i, dims=-1) for i in range(begin, min(begin + CHUNK, self.frames))])
            y = A(views) + SIGMA * torch.randn(views.shape, generator=generator)
            data[begin : begin + CHUNK] = y[:, 0].numpy()
            first = first if begin else views
        return first

    def _start(self, folder: Path, what: str) -> subprocess.Popen[str]:
        named = f"from {work.__module__} import {work.__name__} as work"  # so that it counts as the code of the cell
        code = f"import sys; {named}; work(sys.argv[1], sys.argv[2], int(sys.argv[3]))"
        command = [sys.executable, "-c", code, what, str(folder), str(self.allowance)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    def _chunks(self, folder: Path) -> list[Path]:
        files = (folder / "images.zarr" / "x").rglob("[0-9]*")
        return [file for file in files if file.is_file() and not file.suffix]

    def _finished(self, folder: Path) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        import zarr

        if not [f for f in (folder / "images.zarr" / "status").rglob("[0-9]*") if f.is_file() and not f.suffix]:
            return np.zeros(self.frames, dtype=bool)
        return np.asarray(zarr.open_group(str(folder / "images.zarr"), mode="r")["status"][:]) > 0


def work(what: str, folder: str, allowance: int) -> None:
    """What the limited process does: stream the stack, or try to hold all of it."""
    import resource

    import zarr

    torch.set_num_threads(1)
    threading.stack_size(MIB)  # the reader's threads would reserve 8 MiB each, and the limit counts it
    frames = zarr.open_array(str(Path(folder) / "frames.zarr"), mode="r")
    A = Blur.gaussian(1.6, frames.shape[1:])
    with tempfile.TemporaryDirectory(dir=folder) as trial:  # starts what threads there will be and compiles
        pnp.reconstruct_frames(frames[:CHUNK], A, TV(), trial, sigma=SIGMA, effort="fast", progress=False)
    held = _status("VmData")
    resource.setrlimit(resource.RLIMIT_DATA, (held + allowance * MIB,) * 2)
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets VmHWM to VmRSS (proc(5))
    if what == "hold":
        try:
            both = np.ones((2, *frames.shape), dtype=np.float32)
            fits = both.size > 0
        except MemoryError:
            fits = False
        print(json.dumps({"fits": fits}))
        return
    out = Path(folder) / "images.zarr"
    pnp.reconstruct_frames(frames, A, TV(), out, chunk=CHUNK, sigma=SIGMA, effort="fast", progress=False)
    print(json.dumps({"peak": _status("VmHWM") - before}))


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024


def cells(options: Options) -> Iterator[Cell]:
    """A thousand frames in a quarter of the memory that they and their images take; fewer with ``--quick``."""
    frames, size, allowance = (300, 192, 64) if options.quick else (1000, 256, 128)
    yield Stream(chosen(["camera"], options.images)["camera"], frames, options.size or size, allowance)


def summary(rows: Rows) -> Page:
    """What was held, kept, redone."""
    frame = rows.frame.drop(columns=["version", "seed"])
    row = rows.frame.iloc[0]
    verdicts = [
        Verdict(
            "The stack does not fit into the limit, its stream does.",
            bool(not row["whole stack fits"] and row["peak, MiB"] <= row["limit, MiB"]),
            f"Stack {number(row['stack, MiB'], 0)} MiB, limit {number(row['limit, MiB'], 0)}, peak "
            f"{number(row['peak, MiB'], 0)}.",
        ),
        Verdict(
            "After SIGKILL every finished chunk was kept and none computed again.",
            bool(row["frames finished"] == row["frames"] and row["frames redone"] == 0),
            f"Kept: {row['frames kept by the kill']} of {row['frames']} frames.",
        ),
        Verdict(
            "The images are better than the data.",
            bool(row["PSNR"] > row["data"] + 1),
            f"{number(row['PSNR'], 2)} dB, data {number(row['data'], 2)}.",
        ),
    ]
    return Page("Stack", __doc__ or "", [Section("", [Table("", frame)])], verdicts, frame.T.to_string(header=False))


BENCHMARK = Benchmark("stack", __doc__ or "", cells, summary, timing=True)
