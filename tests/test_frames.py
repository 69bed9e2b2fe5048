"""Stacks larger than memory: chunks change nothing, a kill loses nothing that was finished, nothing is read twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import noise, picture

import pnp
from pnp import reconstruct_frames
from pnp.operators import Blur, Demosaic, Fourier, Mask, SinglePixel
from pnp.priors import TV, Wavelet

pytest.importorskip("zarr")
pytest.importorskip("dask.array")

N, SIDE, CHUNK = 5, 16, 2
FEW = pnp.HQS(s=[0.1, 0.05])  # two iterations: chunks are the subject here
SHAPE = (SIDE, SIDE)
OPERATORS = {
    "grey blur": (Blur.gaussian(1.0, SHAPE, dtype=torch.float64), (1, *SHAPE)),
    "colour blur": (Blur.gaussian(1.0, SHAPE, dtype=torch.float64), (3, *SHAPE)),
    "single pixel": (SinglePixel(SHAPE, 128, seed=0, dtype=torch.float64), (1, *SHAPE)),
    "demosaicking": (Demosaic(SHAPE).double(), (3, *SHAPE)),
    "MRI, real": (Fourier.lines(SHAPE, 0.5, 0, real=True, dtype=torch.float64), (1, *SHAPE)),
    "MRI, complex": (Fourier.lines(SHAPE, 0.5, 0, dtype=torch.float64), (1, *SHAPE)),
}


def stack(name: str, *, flat: bool = True) -> tuple[pnp.LinearOperator, np.ndarray]:
    """The operator and N frames of its data, no two alike; with ``flat`` no axis for a single channel."""
    A, shape = OPERATORS[name]
    frames = []
    for i in range(N):
        x = picture(SIDE).roll(i, dims=-1).expand(shape) + 0.1 * i / N
        y = A(x.to(torch.complex128) if A.complex_in else x)
        frames.append(y + 0.02 * noise(tuple(y.shape), seed=i))
    data = torch.stack(frames).numpy()
    alone = data.ndim == 2 + len(A.out_shape) and data.shape[1] == 1
    return A, data[:, 0] if flat and alone else data


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("flat", [True, False])
def test_chunks_are_reconstruct_frame_by_frame(name: str, flat: bool, tmp_path: Path) -> None:
    A, frames = stack(name, flat=flat)
    group = reconstruct_frames(frames, A, Wavelet(), tmp_path / "x.zarr", chunk=CHUNK, sigma=0.02, solver=FEW)
    for i in range(N):
        alone = pnp.reconstruct(frames[i], A, Wavelet(), sigma=0.02, solver=FEW, progress=False)
        x = group["x"][i]
        assert x.shape == alone.x.shape
        assert x.dtype == alone.x.dtype
        np.testing.assert_allclose(x, alone.x, rtol=0, atol=1e-9 * np.abs(alone.x).max())
        assert group.attrs["statuses"][group["status"][i]] == alone.status.name


class Recorded:
    """Frames that write down what is read of them."""

    def __init__(self, frames: np.ndarray) -> None:
        self.frames, self.shape, self.dtype = frames, frames.shape, frames.dtype
        self.read: list[tuple[int, int]] = []

    def __getitem__(self, which: slice) -> np.ndarray:
        begin, end, _ = which.indices(len(self.frames))
        self.read.append((begin, end))
        return self.frames[which]


def test_one_chunk_is_read_at_a_time_and_a_finished_one_never_again(tmp_path: Path) -> None:
    A, frames = stack("grey blur")
    recorded = Recorded(frames)
    first = reconstruct_frames(recorded, A, TV(), tmp_path / "x", chunk=CHUNK, sigma=0.02, solver=FEW)
    assert recorded.read == [(0, 1), (0, 2), (2, 4), (4, 5)]  # the first frame alone: is it the same problem?
    before = np.asarray(first["x"][:])
    first["status"][2:4] = 0  # as if killed before the second chunk was finished
    recorded.read.clear()
    again = reconstruct_frames(recorded, A, TV(), tmp_path / "x", chunk=CHUNK, sigma=0.02, solver=FEW)
    assert recorded.read == [(0, 1), (2, 4)]
    np.testing.assert_array_equal(again["x"][:], before)
    assert (np.asarray(again["status"][:]) > 0).all()


def test_a_store_of_another_problem_is_refused(tmp_path: Path) -> None:
    A, frames = stack("grey blur")
    other = Blur.gaussian(1.1, SHAPE, dtype=torch.float64)

    def go(frames=frames, A=A, prior=None, chunk=CHUNK, sigma=0.02, bounds=None):  # type: ignore[no-untyped-def]
        prior = prior or Wavelet()
        return reconstruct_frames(frames, A, prior, tmp_path / "x", chunk=chunk, sigma=sigma, bounds=bounds)

    go()
    for change in (
        {"sigma": 0.03},
        {"chunk": 1},
        {"A": other},
        {"prior": TV()},
        {"frames": frames + 1e-6},
        {"frames": frames[:4]},
        {"frames": frames.astype(np.float32)},
        {"bounds": (0.0, 1.0)},
    ):
        with pytest.raises(ValueError, match="another problem"):
            go(**change)


@pytest.mark.parametrize("name", ["grey blur", "colour blur", "demosaicking", "MRI, complex"])
def test_a_dask_array_becomes_a_lazy_one(name: str) -> None:
    """Nothing is computed before it is asked for; blocks that split a frame are joined."""
    from dask import array

    A, frames = stack(name)
    lazy = array.from_array(frames, chunks=(CHUNK, *(8 for _ in frames.shape[1:])))
    x = reconstruct_frames(lazy, A, Wavelet(), sigma=0.02, solver=FEW)
    expected = [pnp.reconstruct(y, A, Wavelet(), sigma=0.02, solver=FEW, progress=False).x for y in frames]
    assert x.shape == (N, *expected[0].shape)
    assert x.dtype == expected[0].dtype
    assert x.chunks[0] == (2, 2, 1)
    one = x[3].compute(scheduler="synchronous")
    np.testing.assert_allclose(one, expected[3], rtol=0, atol=1e-9 * np.abs(one).max())
    np.testing.assert_allclose(x.compute(scheduler="synchronous"), np.stack(expected), rtol=0, atol=1e-9)


def test_chunks_follow_the_storage(tmp_path: Path) -> None:
    import zarr
    from dask import array

    A, frames = stack("grey blur")
    stored = zarr.open_array(str(tmp_path / "y"), mode="w", shape=frames.shape, chunks=(3, *SHAPE), dtype=frames.dtype)
    stored[:] = frames
    for source, kept in ((stored, 3), (array.from_array(frames, chunks=(4, *SHAPE)), 4), (frames, 5)):
        group = reconstruct_frames(source, A, Wavelet(), tmp_path / f"x{kept}", sigma=0.02, solver=FEW)
        assert group["x"].chunks == (kept, *SHAPE)
        np.testing.assert_allclose(
            np.asarray(group["x"][4]),
            reconstruct_frames(frames[4:], A, Wavelet(), tmp_path / f"l{kept}", sigma=0.02, solver=FEW)["x"][0],
            atol=1e-9,
        )


def test_bad_frames_are_refused(tmp_path: Path) -> None:
    A, frames = stack("grey blur")
    for bad in (frames[0], frames[:, :8], frames[:0]):
        with pytest.raises(ValueError, match="expected frames"):
            reconstruct_frames(bad, A, TV(), tmp_path / "x")
    with pytest.raises(TypeError, match="scale them first"):
        reconstruct_frames((frames * 255).astype(np.uint8), A, TV(), tmp_path / "x")
    with pytest.raises(ValueError, match="chunk >= 1"):
        reconstruct_frames(frames, A, TV(), tmp_path / "x", chunk=0)
    with pytest.raises(ValueError, match="or a Dask array, got ndarray"):
        reconstruct_frames(frames, A, TV())
    assert not (tmp_path / "x").exists()


def test_ctrl_c_ends_the_work_and_keeps_what_is_finished(tmp_path: Path) -> None:
    """Also where the solver itself would return its best image so far."""
    A, frames = OPERATORS["grey blur"][0], stack("grey blur")[1]
    calls = []

    class Interrupting(Wavelet):
        def prox(self, v: torch.Tensor, tau: float | torch.Tensor) -> torch.Tensor:
            calls.append(len(v))
            if len(calls) == 4:
                raise KeyboardInterrupt
            return super().prox(v, tau)

    with pytest.raises(KeyboardInterrupt):
        reconstruct_frames(frames, A, Interrupting(), tmp_path / "x", chunk=1, sigma=0.02, solver=FEW)
    import zarr

    finished = np.asarray(zarr.open_group(str(tmp_path / "x"), mode="r")["status"][:]) > 0
    assert 0 < finished.sum() < N
    reconstruct_frames(frames, A, Interrupting(), tmp_path / "x", chunk=1, sigma=0.02, solver=FEW)


JOB = """
import sys, time
import numpy as np, torch
torch.set_num_threads(1)
import pnp
from pnp.operators import Mask
from pnp.priors import Wavelet

class Slow(Wavelet):
    def prox(self, v, tau):
        time.sleep(0.02)
        return super().prox(v, tau)

frames = np.load(sys.argv[1], mmap_mode="r")
A = Mask.random((16, 16), 0.5, 0, dtype=torch.float64)
print("ready", flush=True)
pnp.reconstruct_frames(frames, A, Slow(), sys.argv[2], chunk=2, sigma=0.02, effort="fast")
"""


def chunks(folder: Path) -> list[Path]:
    """The files of a zarr array's chunks, without its description."""
    return [file for file in folder.rglob("[0-9]*") if file.is_file() and file.suffix != ".partial"]


@pytest.mark.slow
def test_a_kill_loses_nothing_that_was_finished(tmp_path: Path) -> None:
    import zarr

    A = Mask.random(SHAPE, 0.5, 0, dtype=torch.float64)
    frames = np.stack([A(picture(SIDE)[0].roll(i, dims=-1)).numpy() for i in range(8)])
    np.save(tmp_path / "y.npy", frames)
    path = os.pathsep.join([str(Path(__file__).resolve().parents[1]), *sys.path])
    command = [sys.executable, "-c", JOB, str(tmp_path / "y.npy"), str(tmp_path / "x")]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL)

    def finished() -> np.ndarray:
        if not chunks(tmp_path / "x" / "status"):
            return np.zeros(8, dtype=bool)
        return np.asarray(zarr.open_group(str(tmp_path / "x"), mode="r")["status"][:]) > 0

    deadline = time.monotonic() + 60
    while finished().sum() < 2:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = finished()
    assert 2 <= kept.sum() < 8
    stamps = {file: file.stat().st_mtime_ns for file in chunks(tmp_path / "x" / "x")}
    subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL, check=True, timeout=60)
    assert finished().all()
    assert sum(file.stat().st_mtime_ns == stamp for file, stamp in stamps.items()) == kept.sum() // 2
    whole = reconstruct_frames(frames, A, Wavelet(), tmp_path / "whole", chunk=2, sigma=0.02, effort="fast")
    np.testing.assert_allclose(
        zarr.open_group(str(tmp_path / "x"), mode="r")["x"][:], whole["x"][:], rtol=0, atol=1e-12
    )
