"""Views that mirror images share: few strips serve many angles."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

SHARED = 0.6  # new angles a view up to which mirroring pays: a product with four images takes about twice one's time


@dataclasses.dataclass(frozen=True)
class Views:
    """How the views of an image follow from those of its mirror images at fewer angles.

    With ``s = x cos + y sin`` the view at ``180 - angle`` is that of the image mirrored in ``x`` at ``angle``, the one
    at ``90 - angle`` that of the image with ``x`` and ``y`` exchanged, and half a turn reverses the detectors.

    Shapes: ``angles`` (F,) in degrees; ``mirrors`` (1, 2 or 4) many; ``place`` (views * detectors,), where each datum
    stands among those of shape (F, detectors, mirrors); ``there`` (pixels, mirrors), the pixel of the picture that
    stands at each pixel of its mirror images, and ``back`` (mirrors, pixels), the way back.
    """

    angles: Tensor
    mirrors: int
    place: Tensor
    there: Tensor
    back: Tensor

    def spread(self, x: Tensor) -> Tensor:
        """The mirror images (pixels, items * mirrors) of flat pictures (items, pixels)."""
        images = x.index_select(1, self.there.flatten())
        return images.reshape(len(x), -1, self.mirrors).transpose(0, 1).flatten(1)

    def gather(self, images: Tensor) -> Tensor:
        """The adjoint of ``spread``: the sum of the mirror images turned back."""
        images = images.reshape(len(images), -1, self.mirrors).transpose(0, 1).flatten(1)
        x = images.index_select(1, self.back[0])
        for back in self.back[1:]:
            x += images.index_select(1, back)
        return x


def views(angles: Tensor, detectors: int, shape: tuple[int, int], pixels: Tensor) -> Views:
    """The fewest angles from which the mirror images of a picture give all views.

    ``pixels``: in which order the mirror images keep their pixels.
    """
    square = shape[0] == shape[1]
    precision = 180 * torch.finfo(angles.dtype).eps
    kept: list[float] = []
    places: dict[int, int] = {}
    which = []
    for degrees in angles.detach().cpu().double().tolist():
        folded, mirror, half_turn = _fold(degrees, square)
        step = round(folded / precision)
        near = next((places[k] for k in (step, step - 1, step + 1) if k in places), None)
        if near is None:
            near = places[step] = len(kept)
            kept.append(folded)
        which.append((near, mirror, half_turn))
    mirrors = 4 if square else 2
    if len(kept) > SHARED * len(angles):
        kept, mirrors, which = angles.tolist(), 1, [(view, 0, False) for view in range(len(angles))]
    beams = torch.arange(detectors)
    rows = [(near * detectors + (beams.flip(0) if turned else beams)) * mirrors + m for near, m, turned in which]
    there, back = _mirrored(shape, mirrors, pixels)
    return Views(torch.tensor(kept, dtype=torch.float64), mirrors, torch.cat(rows).to(angles.device), there, back)


def _mirrored(shape: tuple[int, int], mirrors: int, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """``there`` and ``back`` of `Views`."""
    indices = torch.arange(shape[0] * shape[1], dtype=torch.int32, device=pixels.device)
    images = [indices.reshape(shape)]
    if mirrors > 1:
        images.append(images[0].flip(-1))
    if mirrors > 2:
        images += [image.flip((-2, -1)).mT for image in images]
    there = torch.stack([image.flatten()[pixels] for image in images], dim=1)
    back = torch.empty_like(there)
    for m in range(mirrors):
        back[there[:, m].long(), m] = mirrors * indices + m
    return there, back.T.contiguous()


def _fold(degrees: float, square: bool) -> tuple[float, int, bool]:
    """The angle between 0 and 45 (90 for oblong pictures), the mirror image, and whether the detectors reverse."""
    rest = math.fmod(degrees, 360.0) % 360.0
    half_turn, rest = rest >= 180, rest - 180 * (rest >= 180)
    mirrored, rest = rest > 90, min(rest, 180 - rest)
    exchanged = square and rest > 45
    return (90 - rest if exchanged else rest), mirrored + 2 * exchanged, half_turn
