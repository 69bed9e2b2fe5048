"""Approximate message passing: what it knows of its own error, and the end of its runs."""

import pytest
import torch
from pictures import noise, picture

from pnp import DAMP, LeastSquares, damp, psnr
from pnp.operators import SinglePixel
from pnp.priors import NLM, Wavelet

f64 = torch.float64


def measured(size: int, share: float, sigma: float, name: str = "camera"):
    """A picture and random-row data of it."""
    truth = picture(size, name=name)
    A = SinglePixel((size, size), int(share * size**2)).double()
    return A, truth, A(truth) + sigma * noise((1, A.out_shape[-1]))


def test_the_expected_psnr_is_true():
    A, truth, y = measured(64, 0.6, 0.01)
    result = DAMP().solve(LeastSquares(A, y, 0.01), NLM())
    assert float(result.expected_psnr) == pytest.approx(float(psnr(result.x, truth)), abs=0.3)


def test_levels_are_mixed_near_the_end(monkeypatch):
    """Worth a decibel where non-local means alone smooths too little; it costs two calls an iteration."""
    A, truth, y = measured(64, 0.6, 0.01, "coins")
    mixed = DAMP().solve(LeastSquares(A, y, 0.01), NLM())
    monkeypatch.setattr(damp, "FINE", 0.0)
    plain = DAMP().solve(LeastSquares(A, y, 0.01), NLM())
    assert psnr(mixed.x, truth) > psnr(plain.x, truth) + 1
    assert plain.prior_calls == 2 * plain.iterations
    assert 2 * mixed.iterations < mixed.prior_calls <= 4 * mixed.iterations


def test_an_image_is_mixed_as_if_it_were_alone():
    """One image ends at levels fine enough for mixing, the other does not."""
    A, _, y = measured(32, 0.6, 0.01)
    y = torch.stack([y, y + 0.3 * noise(y.shape, seed=1)])
    sigma = torch.tensor([0.01, 0.3], dtype=f64)
    both = DAMP().solve(LeastSquares(A, y, sigma), Wavelet())
    for i in range(2):
        alone = DAMP().solve(LeastSquares(A, y[i], float(sigma[i])), Wavelet())
        assert torch.allclose(both.x[i], alone.x, rtol=0, atol=1e-9)
