"""What the profiles of BM3D fix, and the record of which blocks belong together."""

from __future__ import annotations

import dataclasses

from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Settings:
    """The parameters of BM3D; the block is 8 x 8, the step 3, the window 39 x 39 in every profile.

    ``threshold`` is in standard deviations of a coefficient. The limits are mean squared differences per pixel up to
    which two blocks count as similar, in units of the squared range of the (8 x 8 averaged) picture; noise is allowed
    for on top.
    Source: Dabov et al., *Image Denoising by Sparse 3-D Transform-Domain Collaborative Filtering*, 2007, table I;
    Lebrun, *An Analysis and Implementation of the BM3D Image Denoising Method*, 2012.
    """

    stages: int = 2
    threshold: float = 2.7
    hard_group: int = 16
    wiener_group: int = 32
    hard_limit: float = 1000 / 255**2
    wiener_limit: float = 400 / 255**2


PROFILES = {
    "fast": Settings(stages=1),
    "normal": Settings(),
    "high": Settings(hard_group=32),
}


@dataclasses.dataclass(frozen=True)
class Groups:
    """For every reference block its similar blocks, as candidate numbers ``(dy + 19) * 39 + dx + 19``, itself first.

    Shapes: ``numbers`` (B, rows, columns, size) int16, of which the first ``counts`` (B, rows, columns) int16 are valid.
    """

    numbers: Tensor
    counts: Tensor
