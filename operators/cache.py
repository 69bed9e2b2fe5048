"""Values derived from a module's buffers, kept until a buffer is replaced or written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class Cache(Generic[T]):
    """The last result of a pure function of some tensors.

    ``Module.to`` and ``.double`` replace buffers, ``load_state_dict`` writes into them: the identity and the version
    counter of the sources tell both. Copies and pickles start empty; sources that require a gradient are never cached.
    """

    def __init__(self) -> None:
        self._entry: tuple[tuple[Tensor, ...], tuple[int, ...], T] | None = None

    def get(self, sources: Sequence[Tensor], build: Callable[[], T]) -> T:
        """``build()``, or what it returned last time if no source has changed since."""
        if any(source.requires_grad for source in sources):
            return build()
        versions = tuple(0 if source.is_inference() else source._version for source in sources)
        entry = self._entry
        if entry is None or entry[1] != versions or any(a is not b for a, b in zip(entry[0], sources, strict=True)):
            with torch.inference_mode(False), torch.no_grad():  # the result must serve later calls with gradients
                entry = (tuple(sources), versions, build())
            self._entry = entry
        return entry[2]

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return type(self), ()
