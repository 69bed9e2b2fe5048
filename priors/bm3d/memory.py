"""What one solve remembers of the block matches, and when it looks for new ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .settings import Groups, Settings

# A tenth costs at most 0.07 dB over matching anew in every call (deblurring and inpainting of two pictures, HQS and
# ADMM, 16 calls); a quarter up to 0.13 dB, one half up to 0.25 dB.
MOVED = 0.1
CHANGED = 1.5


class Memory:
    """The groups of the last matching of each image of a batch, with the picture and the noise level it was made at.

    ``rematch_every`` a number: match anew in every so many calls. ``"auto"``: when the image moved by more than a tenth
    of the noise level (root mean square), or the noise level changed by more than a half, since the last matching.
    A new shape, type or device forgets everything.
    """

    def __init__(self, rematch_every: int | str) -> None:
        self.rematch_every = rematch_every
        self.hard: Groups | None = None
        self.wiener: Groups | None = None
        self.seen: Tensor | None = None  # (B, C, H, W)
        self.level: Tensor | None = None  # (B,)
        self.mixing: Tensor | None = None  # (B, C, C)
        self.calls = 0

    def stale(self, images: Tensor, sigma: Tensor) -> Tensor | None:
        """Which images need new matches, as indices; None for all of them (then nothing waits for the device)."""
        if self.seen is None or self.level is None:
            return None
        if any(getattr(self.seen, name) != getattr(images, name) for name in ("shape", "dtype", "device")):
            return None
        if self.rematch_every != "auto":
            return None if self.calls % int(self.rematch_every) == 0 else torch.empty(0, dtype=torch.long)
        moved = (images - self.seen).square().mean(dim=(1, 2, 3)).sqrt() > MOVED * torch.minimum(sigma, self.level)
        changed = torch.maximum(sigma, self.level) > CHANGED * torch.minimum(sigma, self.level)
        stale = (moved | changed).nonzero()[:, 0]
        return None if len(stale) == len(images) else stale

    def remember(self, images: Tensor, sigma: Tensor, mixing: Tensor, stale: Tensor | None) -> None:
        """Note the images that the new matches belong to."""
        self.calls = 1 if stale is None else self.calls + 1
        self.seen = replaced(self.seen, images, stale)
        self.level = replaced(self.level, sigma, stale)
        self.mixing = replaced(self.mixing, mixing, stale)

    def take(self, keep: Tensor) -> Memory:
        """The memory of some images of the batch."""
        part = Memory(self.rematch_every)
        part.calls = self.calls
        for name in ("seen", "level", "mixing"):
            value = getattr(self, name)
            setattr(part, name, None if value is None else value[keep])
        for name in ("hard", "wiener"):
            groups = getattr(self, name)
            setattr(part, name, None if groups is None or self.seen is None else groups.take(keep, len(self.seen)))
        return part

    def state_dict(self) -> dict[str, Any]:
        """Tensors only; empty before the first call."""
        if self.hard is None or self.seen is None or self.level is None or self.mixing is None:
            return {}
        state = {"seen": self.seen, "level": self.level, "mixing": self.mixing, "calls": torch.tensor(self.calls)}
        for name, groups in (("hard", self.hard), ("wiener", self.wiener)):
            if groups is not None:
                state |= {f"{name}.{field}": getattr(groups, field) for field in ("numbers", "counts", "noise")}
        return {key: value.clone() for key, value in state.items()}

    @classmethod
    def restored(cls, state: dict[str, Any], rematch_every: int | str, settings: Settings) -> Memory:
        """The memory of which ``state_dict`` told. Raises: ValueError unless ``settings`` filtered its batch."""
        names = ["hard", "wiener"][: settings.stages] if state else []
        expected = {f"{name}.{field}" for name in names for field in ("numbers", "counts", "noise")}
        expected |= {"seen", "level", "mixing", "calls"} if state else set()
        if set(state) != expected:
            raise ValueError(f"BM3D.load_state_dict: expected the keys {sorted(expected)}, got {sorted(state)}.")
        memory = cls(rematch_every)
        if not state:
            return memory
        seen, level, mixing = (state[key].clone() for key in ("seen", "level", "mixing"))
        batch, channels, *size = seen.shape if seen.ndim == 4 else (0, 0, 0, 0)
        if batch == 0 or level.shape != (batch,) or mixing.shape != (batch, channels, channels):
            raise ValueError(
                "BM3D.load_state_dict: expected images (B, C, H, W), a level (B,) and a mixing (B, C, C) of each, got "
                f"{tuple(seen.shape)}, {tuple(level.shape)} and {tuple(mixing.shape)}."
            )
        for name, shape in zip(names, settings.group_shapes(batch, *size), strict=True):
            groups = Groups(*(state[f"{name}.{field}"].clone() for field in ("numbers", "counts", "noise")))
            if not groups.valid(shape):
                raise ValueError(
                    f"BM3D.load_state_dict: the matches of stage {name!r} are not {shape}, those of this profile in "
                    f"images {tuple(seen.shape)}, or point outside the picture."
                )
            setattr(memory, name, groups)
        memory.seen, memory.level, memory.mixing, memory.calls = seen, level, mixing, int(state["calls"])
        return memory


def replaced(old: Tensor | None, new: Tensor, stale: Tensor | None) -> Tensor:
    """``old`` with its ``stale`` items from ``new``; all of ``new`` where ``stale`` is None."""
    if old is None or stale is None:
        return new.clone()
    return old.index_copy(0, stale.to(old.device), new[stale.to(new.device)])
