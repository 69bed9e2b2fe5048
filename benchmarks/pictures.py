"""Test pictures: those inside scikit-image, or a folder of your own."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
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
# In the places of the papers' pictures where no folder has them: of the same kind, not the same.
STAND_INS = {
    "house": "camera",
    "parrots": "coffee",
    "cameraman": "camera",
    "hill": "moon",
    "f16": "rocket",
    "baboon": "chelsea",
    "logo": "phantom",
    "barbara": "brick",
}
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


@dataclasses.dataclass(frozen=True)
class Cast:
    """Pictures in the places of the papers', by the names there; ``genuine`` says that they are the papers' own."""

    pictures: Mapping[str, Picture]
    genuine: bool

    def name(self, picture: str) -> str:
        """The name in the paper of what a table calls ``picture``."""
        return next((name for name, own in self.pictures.items() if str(own) == picture), picture)


def pictures(folder: Path | None = None) -> list[Picture]:
    """Every picture of the folder, by name; of scikit-image without a folder.

    Raises: ValueError if the folder has none.
    """
    return [_known(path) for path in _files(folder)]


def find(name: str, folder: Path | None = None) -> Picture:
    """The picture of this name, from scikit-image where the folder lacks it.

    Raises: ValueError if there is none.
    """
    return _own(name, folder) or _included(name)


def illustrations(names: Iterable[str], folder: Path | None = None) -> Cast:
    """The papers' pictures as far as the folder has them; if it has none, its own in their places, in order.

    Without a folder the stand-ins of scikit-image.
    """
    names = list(dict.fromkeys(names))
    if folder is None:
        return Cast({name: _included(STAND_INS[name]) for name in names}, genuine=False)
    found = {name: picture for name in names if (picture := _own(name, folder)) is not None}
    return Cast(found or _in_order(names, folder), genuine=bool(found))


def chosen(names: Iterable[str], folder: Path | None = None) -> dict[str, Picture]:
    """scikit-image's pictures of these names; from a folder those that it has.

    A folder that has neither them nor any of the papers' is somebody's own: its pictures take the places, in order.
    """
    names = list(names)
    if folder is not None and not any(_own(name, folder) for name in (*names, *STAND_INS)):
        return _in_order(names, folder)
    return {name: find(name, folder) for name in names}


def absent(names: Iterable[str], folder: Path) -> list[str]:
    """Those of the papers' pictures that the folder lacks."""
    return [name for name in dict.fromkeys(names) if _own(name, folder) is None]


def _own(name: str, folder: Path | None) -> Picture | None:
    """The folder's picture of this name, which more may follow (``house_256.png``); of several sizes that of 256."""
    pattern = re.compile(rf"{re.escape(name)}(?![a-z])", re.IGNORECASE)
    match = pattern.search if name == "logo" else pattern.match  # of somebody
    paths = [] if folder is None else [path for path in _files(folder) if match(path.stem)]
    paths.sort(key=lambda path: (path.stem != name, "256" not in path.stem, path.name))
    return _known(paths[0]) if paths else None


def _included(name: str) -> Picture:
    files = {path.stem: path for path in _files(None)}
    if name not in files:
        raise ValueError(f"Expected a picture called {name!r}; there are: {', '.join(sorted(files))}.")
    return _known(files[name])


def _in_order(names: Sequence[str], folder: Path) -> dict[str, Picture]:
    return {name: _known(path) for name, path in zip(names, _files(folder), strict=False)}


def _files(folder: Path | None) -> list[Path]:
    if folder is None:
        import skimage.data

        return sorted(path for path in Path(skimage.data.__file__).parent.iterdir() if path.stem in INCLUDED)
    inside = folder.iterdir() if folder.is_dir() else ()
    files = sorted(path for path in inside if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
    if not files:
        raise ValueError(f"No pictures ({', '.join(SUFFIXES)}) in {folder}.")
    return files


def _known(path: Path) -> Picture:
    return Picture(path.stem, hashlib.sha256(path.read_bytes()).hexdigest()[:8], path)
