"""Test pictures: those inside scikit-image, or a folder of your own."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pnp import to_tensor

# Photographs, textures and a phantom that every scikit-image installation holds; no download.
INCLUDED = (
    *("astronaut", "brick", "camera", "cell", "chelsea", "coffee", "coins", "grass", "gravel", "ihc", "moon"),
    *("motorcycle_left", "page", "phantom", "retina", "rocket"),
)
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


@dataclasses.dataclass(frozen=True)
class Picture:
    """One picture file, known by name and content."""

    name: str
    digest: str  # of the file: another picture of the same name is another cell
    path: Path = dataclasses.field(compare=False)

    def __str__(self) -> str:
        return f"{self.name}:{self.digest}"

    def tensor(self, size: int | None = None, *, grey: bool = False) -> Tensor:
        """The picture as a float32 image (C, H, W) in [0, 1].

        With ``size`` the central square of it, resized with anti-aliasing; a picture on plain ground is kept whole.
        """
        import skimage.color
        import skimage.io
        import skimage.transform

        array = np.asarray(skimage.util.img_as_float64(skimage.io.imread(self.path)))
        if array.ndim == 3 and array.shape[2] == 4:  # transparent parts on white
            array = skimage.color.rgba2rgb(array)
        if array.ndim == 3 and array.shape[2] == 2:  # grey and alpha
            array = array[:, :, 0] * array[:, :, 1] + 1 - array[:, :, 1]
        if array.ndim == 3 and (grey or _is_grey(array)):
            array = skimage.color.rgb2gray(array)
        if size is not None:
            square = _square(array)
            side = square.shape[0]
            array = skimage.transform.resize(square, (size, size, *square.shape[2:]), anti_aliasing=size < side)
        return to_tensor(np.clip(array, 0, 1)).to(torch.float32)


def _square(
    array: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """The central square, or the whole picture on a square of its ground if all of its border has one colour."""
    height, width = array.shape[:2]
    border = np.concatenate([array[0], array[-1], array[:, 0], array[:, -1]])
    if np.ptp(border, axis=0).max() < 0.02:
        rows, columns = max(width - height, 0), max(height - width, 0)
        pad = [(rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2), (0, 0)]
        return np.pad(array, pad[: array.ndim], mode="edge")
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return array[top : top + side, left : left + side]


def _is_grey(array: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> bool:
    return bool(array.shape[2] == 1 or np.ptp(array, axis=2).max() < 1e-9)


def pictures(folder: Path | None = None) -> list[Picture]:
    """Every picture of the folder, by name; of scikit-image without a folder.

    Raises: ValueError if the folder has none.
    """
    if folder is None:
        import skimage.data

        files = [path for path in Path(skimage.data.__file__).parent.iterdir() if path.stem in INCLUDED]
    else:
        files = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES] if folder.is_dir() else []
    files = sorted(path for path in files if path.suffix.lower() in SUFFIXES)
    if not files:
        raise ValueError(f"No pictures ({', '.join(SUFFIXES)}) in {folder}.")
    return [Picture(path.stem, hashlib.sha256(path.read_bytes()).hexdigest()[:8], path) for path in files]


def find(name: str, folder: Path | None = None) -> Picture:
    """The picture of this name; a folder's file may have more after it (``house`` finds ``house_256.png``).

    What the folder lacks is taken from scikit-image, if it is there.
    Raises: ValueError if there is none, or more than one.
    """
    available = pictures(folder)
    if folder is not None and name in INCLUDED and not any(p.name.lower().startswith(name) for p in available):
        return find(name)
    exact = [p for p in available if p.name == name]
    found = exact or [p for p in available if p.name.lower().startswith(name.lower())]
    if len(found) != 1:
        names = ", ".join(p.name for p in (found or available))
        raise ValueError(f"Expected one picture called {name!r}, found {len(found)}; there are: {names}.")
    return found[0]
