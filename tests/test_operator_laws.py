"""Every law of pnp.testing, applied to every operator of the market and to random compositions of them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import OPERATORS, operators

from pnp.testing import compositions
from pnp.testing.operator_check import OPERATOR_LAWS, apply_laws
from pnp.testing.solve_laws import tikhonov_solves_its_normal_equations

seeds = st.integers(0, 999)
each_entry = pytest.mark.parametrize("name", [entry.name for entry in OPERATORS])


def broken(A, laws=OPERATOR_LAWS, **how):
    """The broken laws, as text: all of them at once, so that one run tells everything."""
    return [f"{A!r} breaks {finding}" for finding in apply_laws(laws, A, **how) if not finding.ok]


@each_entry
@given(data=st.data(), seed=seeds)
@settings(max_examples=4, deadline=None)
def test_operators_obey_every_law_in_float64(name, data, seed):
    A = data.draw(operators(name=name, dtype=torch.float64))
    assert not broken(A, seed=seed, dtype=torch.float64)


@each_entry
@given(data=st.data(), seed=seeds)
@settings(max_examples=2, deadline=None)
def test_operators_obey_every_law_in_float32(name, data, seed):
    A = data.draw(operators(name=name, dtype=torch.float32))
    assert not broken(A, seed=seed, dtype=torch.float32)


@each_entry
@given(data=st.data(), seed=seeds)
@settings(max_examples=2, deadline=None)
def test_operators_obey_every_law_on_complex_images(name, data, seed):
    """A real operator acts on the real and the imaginary part."""
    A = data.draw(operators(name=name, dtype=torch.float64))
    assert not broken(A, seed=seed, dtype=torch.float64, complex_values=True)


def product_solves_its_normal_equations(p):
    """A product's condition number is its factors' multiplied: penalties down to 1e-4 only."""
    return tikhonov_solves_its_normal_equations(p, exponents=(-4, -2, 0, 4))


@given(data=st.data(), height=st.integers(4, 6), width=st.integers(4, 6), seed=seeds)
@settings(max_examples=30, deadline=None)
def test_compositions_obey_every_law(data, height, width, seed):
    """Products, sums, multiples, adjoints and stacks of the market, three deep."""
    A = data.draw(compositions(operators(shape=(height, width)), depth=3))
    laws = [
        product_solves_its_normal_equations if law is tikhonov_solves_its_normal_equations else law
        for law in OPERATOR_LAWS
    ]
    assert not broken(A, laws, seed=seed, dtype=torch.float64)
