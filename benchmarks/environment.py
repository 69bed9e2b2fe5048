"""Where the numbers were made: versions, processor, threads."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

PACKAGES = (
    *("torch", "numpy", "scipy", "scikit-image", "numba", "pylops", "PyWavelets"),
    *("bm3d", "opencv-python-headless", "deepinv", "scico"),
)


def environment(*, jobs: int, threads: int, device: str, version: str) -> dict[str, str]:
    """Names and values, in the order to be shown."""
    import torch

    record = {
        "processor": _processor(),
        "cores available": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "jobs at a time": str(jobs),
        "threads per job": str(threads),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "system": f"{platform.system()} {platform.machine()}",
        "python": sys.version.split()[0],
        "code version": version,
        "commit": _commit(),
    }
    return record | {package: found for package in PACKAGES if (found := _installed(package))}


def _installed(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str:
    """The commit of the working tree, with a plus when it has been changed since."""
    here = Path(__file__).resolve().parent.parent
    try:
        command = ["git", "-C", str(here), "describe", "--always", "--dirty=+", "--abbrev=10"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
