"""Checkpoints: tensors in one file, written atomically, read without pickle, refused when the problem differs."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

SECONDS_BETWEEN_WRITES = 2.0
State = Mapping[str, Any]  # nested mappings, lists and tuples of tensors, numbers, strings and None


def fingerprint(parts: Iterable[Any]) -> str:
    """SHA-256 of tensors, modules and settings: equal for equal problems, in any process."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            digest.update(f"{part.dtype}{tuple(part.shape)}".encode())
            digest.update(part.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        elif isinstance(part, torch.nn.Module):
            digest.update(repr(part).encode())
            digest.update(fingerprint(part.state_dict().values()).encode())
        else:
            digest.update(repr(part).encode())
        digest.update(b"|")
    return digest.hexdigest()


class Checkpoint:
    """Named sections of state in one file, for a problem of the given fingerprint.

    Tensors are stored as NumPy arrays (``.npz`` without pickle), the structure around them as JSON. A write goes to a
    temporary file first and replaces the old one in one step, so that a kill leaves either the old or the new state.
    """

    def __init__(self, path: str | os.PathLike[str], problem: str) -> None:
        self.path, self.problem = Path(path), problem
        self._sections: dict[str, Any] = self._read() if self.path.exists() else {}
        self._written = time.monotonic()

    def get(self, section: str) -> Any:
        """The saved state of a section, or None."""
        return self._sections.get(section)

    def put(self, section: str, state: Any, *, now: bool = False) -> None:
        """Keep ``state`` for ``section``; written at once or when the last write is two seconds old."""
        self._sections[section] = state
        if now or time.monotonic() - self._written >= SECONDS_BETWEEN_WRITES:
            self.write()

    def drop(self, section: str) -> None:
        """Forget a section; the file follows with the next write."""
        self._sections.pop(section, None)

    def write(self) -> None:
        """Write all sections atomically."""
        import json

        arrays: dict[str, np.ndarray[Any, Any]] = {}
        tree = json.dumps({"problem": self.problem, "sections": _pack(self._sections, arrays)})
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            np.savez(file, allow_pickle=False, tree=np.frombuffer(tree.encode(), dtype=np.uint8), **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.path)
        self._written = time.monotonic()

    def _read(self) -> dict[str, Any]:
        import json
        import zipfile

        try:
            with open(self.path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
                content = json.loads(file["tree"].tobytes().decode())
                arrays = {name: file[name] for name in file.files if name != "tree"}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"checkpoint {self.path}: not a checkpoint of this library ({error}); remove it."
            ) from error
        if content["problem"] != self.problem:
            raise ValueError(
                f"checkpoint {self.path}: belongs to another problem (operator, data, prior or settings differ); "
                "remove it or choose another path."
            )
        try:
            sections: dict[str, Any] = _unpack(content["sections"], arrays)
        except (RuntimeError, AssertionError) as error:  # torch has no type of its own for a device that is not there
            raise ValueError(
                f"checkpoint {self.path}: holds tensors of a device that is not available here ({error}); "
                "resume it where it was written, or choose another path."
            ) from error
        return sections


def _pack(value: Any, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    """``value`` as JSON, its tensors moved into ``arrays``."""
    if isinstance(value, Tensor):
        name = f"a{len(arrays)}"
        bf16 = value.dtype == torch.bfloat16
        arrays[name] = (value.detach().cpu().view(torch.int16) if bf16 else value.detach().cpu()).numpy()
        return {"tensor": name, "device": str(value.device), "bf16": bf16}
    if isinstance(value, Mapping):
        return {"map": [[key, _pack(item, arrays)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [_pack(item, arrays) for item in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"checkpoint: cannot store a {type(value).__name__}; a state_dict holds tensors, numbers and strings."
    )


def _unpack(value: Any, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    if isinstance(value, dict):
        if "tensor" in value:
            tensor = torch.from_numpy(arrays[value["tensor"]].copy())
            return (tensor.view(torch.bfloat16) if value["bf16"] else tensor).to(value["device"])
        if "map" in value:
            return {key: _unpack(item, arrays) for key, item in value["map"]}
        return [_unpack(item, arrays) for item in value["list"]]
    return value
