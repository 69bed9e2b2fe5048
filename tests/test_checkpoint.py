"""A run that was killed goes on where it was, bit for bit; a checkpoint of another problem is refused."""

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

from pnp import ADMM, LeastSquares, reconstruct
from pnp.checkpoint import Checkpoint, fingerprint
from pnp.operators import Blur
from pnp.priors import BM3D, TV

JOB = """
import sys, time
import torch
from pictures import noise, picture
torch.set_num_threads(1)
from pnp import ADMM, LeastSquares, reconstruct
from pnp import checkpoint
from pnp.operators import Blur
from pnp.priors import BM3D, TV

checkpoint.SECONDS_BETWEEN_WRITES = 0.0
A = Blur.gaussian(1.2, (32, 32), dtype=torch.float64)
y = A(picture(32)) + 0.02 * noise((1, 32, 32))
kind, path, out, wait = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
prior = {"TV": TV(), "BM3D": BM3D()}[kind.split()[1]]
pause = lambda step: time.sleep(wait)  # lets the test kill the process between iterations
print("ready", flush=True)
if kind.startswith("solve"):
    solver = ADMM(s=[0.2, 0.15, 0.1, 0.08], max_iter=20, tol=0.0)
    result = solver.solve(LeastSquares(A, y, 0.02), prior, checkpoint=path, callback=pause)
else:
    result = reconstruct(y, A, prior, sigma=0.02, checkpoint=path, callback=pause, progress=False)
torch.save({"x": result.x, "status": result.status.name, "primal": result.history.primal}, out)
"""


def run(folder: Path, kind: str, path: str, out: str, wait: float, kill_after: float | None) -> bool:
    """Run the job; kill it ``kill_after`` seconds after it is ready. Returns whether it finished."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    }
    command = [sys.executable, "-c", JOB, kind, path, out, str(wait)]
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    if kill_after is not None:
        time.sleep(kill_after)
        process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    return process.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["solve TV", "solve BM3D", "reconstruct TV", "reconstruct BM3D"])
def test_a_killed_run_goes_on_bit_for_bit(tmp_path, kind):
    assert run(tmp_path, kind, "whole.npz", "whole.pt", 0.0, None)
    kills = 0
    for kill_after in (0.4, 0.7, 1.0, 0.5):
        if run(tmp_path, kind, "cut.npz", "cut.pt", 0.1, kill_after):
            break
        kills += 1
    assert kills >= 2
    assert (tmp_path / "cut.pt").exists() or run(tmp_path, kind, "cut.npz", "cut.pt", 0.0, None)
    whole, cut = (torch.load(tmp_path / name, weights_only=True) for name in ("whole.pt", "cut.pt"))
    assert whole["status"] == cut["status"]
    assert torch.equal(whole["x"], cut["x"])
    assert torch.equal(whole["primal"].nan_to_num(-1), cut["primal"].nan_to_num(-1))


def problem(seed: int = 0):
    A = Blur.gaussian(1.2, (24, 24), dtype=torch.float64)
    return A, A(picture(24)) + 0.02 * noise((1, 24, 24), seed)


@pytest.mark.parametrize("prior", [TV(), BM3D()], ids=["TV", "BM3D"])
@pytest.mark.parametrize("stop", [1, 3, 9])
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, prior, stop):
    A, y = problem()
    solver = ADMM(s=[0.2, 0.15, 0.1, 0.08], max_iter=12, tol=0.0)
    whole = solver.solve(LeastSquares(A, y, 0.02), prior)
    path = tmp_path / "run.npz"
    solver.solve(LeastSquares(A, y, 0.02), prior, checkpoint=path, callback=lambda step: step.iteration == stop)
    resumed = []
    rest = solver.solve(
        LeastSquares(A, y, 0.02), prior, checkpoint=path, callback=lambda s: resumed.append(s.iteration)
    )
    assert resumed == list(range(stop + 1, 13))
    assert torch.equal(rest.x, whole.x)
    assert torch.equal(rest.history.dual, whole.history.dual)
    again = solver.solve(LeastSquares(A, y, 0.02), prior, checkpoint=path)  # a finished run is returned as it was
    assert torch.equal(again.x, whole.x)


def test_another_problem_is_refused(tmp_path):
    A, y = problem()
    path = tmp_path / "run.npz"
    reconstruct(y, A, TV(), sigma=0.02, checkpoint=path, progress=False)
    for change in ({"y": 2 * y}, {"sigma": 0.03}, {"prior": TV(0.5)}, {"effort": "best"}, {"seed": 1}):
        arguments = {"y": y, "A": A, "prior": TV(), "sigma": 0.02, "progress": False} | change
        with pytest.raises(ValueError, match="belongs to another problem"):
            reconstruct(checkpoint=path, **arguments)
    A = Blur.gaussian(1.3, (24, 24), dtype=torch.float64)
    with pytest.raises(ValueError, match="belongs to another problem"):
        reconstruct(y, A, TV(), sigma=0.02, checkpoint=path, progress=False)


def test_a_device_that_is_not_there_is_named(tmp_path):
    A, y = problem()
    path = tmp_path / "run.npz"
    reconstruct(y, A, TV(), sigma=0.02, checkpoint=path, progress=False)
    with np.load(path) as file:
        content = {name: file[name] for name in file.files}
    content["tree"] = np.frombuffer(content["tree"].tobytes().replace(b'"cpu"', b'"cuda:7"'), dtype=np.uint8)
    np.savez(path, **content)
    with pytest.raises(ValueError, match="device that is not available"):
        reconstruct(y, A, TV(), sigma=0.02, checkpoint=path, progress=False)


def test_files(tmp_path):
    path = tmp_path / "state.npz"
    tree = {"a": torch.arange(3), "b": [1, None, "x", 0.5], "c": {"d": torch.ones(2, dtype=torch.bfloat16)}}
    checkpoint = Checkpoint(path, "problem")
    checkpoint.put("section", tree, now=True)
    (tmp_path / "state.npz.1.tmp").write_bytes(b"half")  # what a kill in mid-write leaves behind changes nothing
    back = Checkpoint(path, "problem").get("section")
    assert torch.equal(back["a"], tree["a"])
    assert back["b"] == tree["b"]
    assert torch.equal(back["c"]["d"], tree["c"]["d"])
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="not a checkpoint of this library"):
        Checkpoint(path, "problem")
    with pytest.raises(TypeError, match="cannot store a set"):
        checkpoint.put("section", {1, 2}, now=True)


def test_fingerprints_tell_problems_apart():
    x = torch.zeros(2, 3)
    prints = [[x], [x.T], [x.double()], [x + 1], [x, x], ["x"], [Blur.gaussian(1, (4, 4))], [Blur.gaussian(2, (4, 4))]]
    assert len({fingerprint(parts) for parts in prints}) == len(prints)
    assert fingerprint([x.clone(), "s"]) == fingerprint([x, "s"])
