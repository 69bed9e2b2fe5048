"""Stacks of frames too large for memory: reconstructed chunk by chunk, kept as they finish, continued after a kill."""

from __future__ import annotations

import dataclasses
import os
import sys
from typing import Any

import numpy as np
import torch

from .checkpoint import fingerprint
from .functional import Functional
from .images import from_numpy
from .linear_operator import LinearOperator
from .reconstruct import reconstruct
from .result import Status, worst
from .solver import Solver

FRAMES = 8  # a chunk, where neither the caller nor the storage says
STATUSES = ("", *(status.name for status in Status))  # by the number that stands in a store; 0: not finished


def reconstruct_frames(
    frames: Any,
    A: LinearOperator,
    prior: Functional,
    out: Any = None,
    *,
    chunk: int | None = None,
    sigma: float | str = "auto",
    solver: Solver | str = "auto",
    effort: str = "auto",
    bounds: tuple[float, float] | None = None,
    seed: int = 0,
    max_prior_calls: int | None = None,
    progress: bool = True,
) -> Any:
    """``reconstruct`` for every frame of a stack of which only one chunk is in memory at a time.

    ``frames`` is anything with a shape and slices: a zarr array, a Dask array, ``numpy.memmap``, an HDF5 data set.
    With ``out``, a path or a zarr store, each chunk is written there when it is finished.
    After Ctrl-C or a kill the same call computes the missing chunks only. Returned is the zarr group: ``x`` are the
    images, ``status`` the number of each frame's status in ``attrs["statuses"]``, 0 while it is not finished.
    Without ``out`` a Dask array becomes a lazy one whose blocks are reconstructed where and when Dask computes them.

    ``chunk`` is the number of frames reconstructed as one batch; by default as many as the storage keeps together.
    Frames never influence each other, so that it decides on memory and speed alone; the other settings are those of
    ``reconstruct``. One process writes to a store at a time.

    Shapes: ``frames`` (N, ..., *A.out_shape) to ``x`` (N, ..., *A.in_shape); the first axis always counts frames.
    Raises: TypeError for integers; ValueError for another shape, for an ``out`` that holds another problem (settings,
        shape or first frame differ), without ``out`` for frames that are no Dask array.
    """
    task = _Task(A, prior, sigma, solver, effort, bounds, seed, max_prior_calls)
    task.check(frames)
    if chunk is not None and chunk < 1:
        raise ValueError(f"reconstruct_frames: expected chunk >= 1, got {chunk!r}.")
    if out is not None:
        return _to_zarr(task, frames, out, chunk or _kept_together(frames), progress)
    if not hasattr(frames, "map_blocks"):
        raise ValueError(
            f"reconstruct_frames: expected out, the place for the images, or a Dask array, got {type(frames).__name__}."
        )
    return _lazily(task, frames, chunk)


@dataclasses.dataclass(frozen=True)
class _Task:
    """What is done with every chunk."""

    A: LinearOperator
    prior: Functional
    sigma: float | str
    solver: Solver | str
    effort: str
    bounds: tuple[float, float] | None
    seed: int
    max_prior_calls: int | None

    def check(self, frames: Any) -> None:
        """Refuse what is no stack of data of the operator."""
        shape, data = tuple(frames.shape), self.A.out_shape
        if len(shape) <= len(data) or shape[-len(data) :] != data or 0 in shape:
            raise ValueError(f"reconstruct_frames: expected frames (N, ..., {data}) for {self.A!r}, got {shape}.")
        if np.dtype(frames.dtype).kind not in "fc":
            raise TypeError(
                f"reconstruct_frames: expected floating-point frames, got {frames.dtype}; scale them first, "
                "for instance lazily with Dask: dask.array.from_array(frames).astype('float32') / 65535."
            )

    def identity(self) -> list[Any]:
        """Everything that decides on the images, for the fingerprint of a store."""
        settings = [self.sigma, self.solver, self.effort, self.bounds, self.seed, self.max_prior_calls]
        return [self.A, repr(self.prior), *settings]

    def flat(self, frames: Any) -> bool:
        """Whether a frame lacks the channel that ``reconstruct`` wants between frames and pixels."""
        return len(self.A.in_shape) == self.A.ndim and len(frames.shape) == 1 + len(self.A.out_shape)

    def image_shape(self, frames: Any) -> tuple[int, ...]:
        """Of one frame."""
        return (*frames.shape[1 : len(frames.shape) - len(self.A.out_shape)], *self.A.in_shape)

    def dtype(self, frames: Any) -> np.dtype[Any]:
        """Of the images: the precision of the frames."""
        real = from_numpy(np.empty(0, frames.dtype)).real.dtype
        return torch.empty(0, dtype=real.to_complex() if self.A.complex_in else real).numpy().dtype

    def images(self, block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The images of a block of frames."""
        return self.solved(block)[0]

    def solved(self, block: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], list[Status]]:
        """The images of a block of frames and how each frame ended."""
        flat = self.flat(block)
        result = reconstruct(
            block[:, None] if flat else block,
            self.A,
            self.prior,
            sigma=self.sigma,
            solver=self.solver,
            effort=self.effort,
            bounds=self.bounds,
            seed=self.seed,
            max_prior_calls=self.max_prior_calls,
            progress=False,
        )
        if result.status is Status.INTERRUPTED:
            raise KeyboardInterrupt  # the images of this block are not finished
        each = len(result.statuses) // len(block)  # images of a frame
        statuses = [worst(list(result.statuses[i * each : (i + 1) * each])) for i in range(len(block))]
        return (result.x[:, 0] if flat else result.x), statuses


def _kept_together(frames: Any) -> int:
    """Frames in a chunk of the storage."""
    if not getattr(frames, "chunks", None):
        return FRAMES
    first = frames.chunks[0]
    return max(first) if isinstance(first, tuple) else int(first)


def _to_zarr(task: _Task, frames: Any, out: Any, chunk: int, progress: bool) -> Any:
    """Chunk after chunk into a zarr group; a chunk counts as finished once its statuses are there."""
    import zarr
    from tqdm.auto import tqdm

    group = zarr.open_group(os.fspath(out) if isinstance(out, os.PathLike) else out, mode="a")
    count, image = int(frames.shape[0]), task.image_shape(frames)
    problem = fingerprint([*task.identity(), chunk, tuple(frames.shape), from_numpy(np.asarray(frames[:1]))])
    if group.attrs.get("problem", problem) != problem:
        raise ValueError(
            f"reconstruct_frames: {out!r} holds the result of another problem; name another place or delete it."
        )
    group.attrs.update({"problem": problem, "statuses": list(STATUSES)})

    def array(name: str, shape: tuple[int, ...], dtype: Any) -> Any:
        chunks = (min(chunk, count), *shape)
        return zarr.open_array(
            store=group.store, path=name, mode="a", shape=(count, *shape), chunks=chunks, dtype=dtype, fill_value=0
        )

    x, status = array("x", image, task.dtype(frames)), array("status", (), "uint8")
    finished = np.asarray(status[:]) > 0
    shown = progress and sys.stderr.isatty()
    with tqdm(total=count, initial=int(finished.sum()), unit="frame", disable=not shown) as bar:
        for begin in range(0, count, chunk):
            here = slice(begin, min(begin + chunk, count))
            if finished[here].all():
                continue
            images, statuses = task.solved(np.asarray(frames[here]))
            x[here] = images
            status[here] = np.array([STATUSES.index(s.name) for s in statuses], dtype=np.uint8)
            bar.update(len(statuses))
    return group


def _lazily(task: _Task, frames: Any, chunk: int | None) -> Any:
    """A Dask array of images; frames are never split between blocks."""
    whole = frames.rechunk({0: chunk or frames.chunks[0], **dict.fromkeys(range(1, frames.ndim), -1)})
    shape = task.image_shape(frames)
    return whole.map_blocks(
        task.images,
        drop_axis=list(range(1, frames.ndim)),
        new_axis=list(range(1, 1 + len(shape))),
        chunks=(whole.chunks[0], *((n,) for n in shape)),
        dtype=task.dtype(frames),
        meta=np.empty((0,) * (1 + len(shape)), dtype=task.dtype(frames)),
    )
