"""Every law of pnp.testing, applied to every operator of the market and to random compositions of them."""

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from strategies import COMPLEX, OPERATORS, operators

from pnp.testing import compositions
from pnp.testing.operator_check import OPERATOR_LAWS, apply_laws
from pnp.testing.solve_laws import tikhonov_solves_its_normal_equations

seeds = st.integers(0, 999)
each_entry = pytest.mark.parametrize("name", [entry.name for entry in OPERATORS])
f32, f64, c64, c128 = torch.float32, torch.float64, torch.complex64, torch.complex128


def broken(A, laws=OPERATOR_LAWS, **how):
    """The broken laws, as text: all of them at once, so that one run tells everything."""
    return [f"{A!r} breaks {finding}" for finding in apply_laws(laws, A, **how) if not finding.ok]


def obeys_every_law(dtype, examples):
    """A test of one entry on images of ``dtype``; a real operator acts on the real and the imaginary part."""

    @given(data=st.data(), seed=seeds)
    @settings(max_examples=examples, deadline=None)
    def test(name, data, seed):
        A = data.draw(operators(name=name, dtype=dtype.to_real()))
        assert not broken(A, seed=seed, dtype=dtype.to_real(), complex_values=dtype.is_complex)

    return each_entry(test)


test_operators_obey_every_law_in_float64 = obeys_every_law(f64, 4)
test_operators_obey_every_law_in_float32 = obeys_every_law(f32, 2)
test_operators_obey_every_law_in_complex128 = obeys_every_law(c128, 2)
test_operators_obey_every_law_in_complex64 = obeys_every_law(c64, 1)


@each_entry
@given(data=st.data(), seed=seeds)
@settings(max_examples=1, phases=[Phase.generate])
def test_operators_built_in_float32_obey_every_law_once_they_are_double(name, data, seed):
    """No number that float32 had to round is kept from the time before."""
    A = data.draw(operators(name=name, shape=(5, 6), dtype=f32)).double()
    assert not broken(A, seed=seed, dtype=f64)


def product_solves_its_normal_equations(p):
    """A product's condition number is its factors' multiplied, and its closed forms divide by the penalty before they
    cancel: penalties down to 1e-6 where exact, to 1e-4 by CG; 1e-2 in float32.
    """
    least = (-2,) if p.real != f64 else (-4, -2) if "CG" in p.operator.route() else (-6, -4, -2)
    return tikhonov_solves_its_normal_equations(p, exponents=(*least, 0, 4))


COMPOSITION_LAWS = [
    product_solves_its_normal_equations if law is tikhonov_solves_its_normal_equations else law for law in OPERATOR_LAWS
]


@pytest.mark.parametrize(("dtype", "examples"), [(f64, 30), (f32, 10), (c128, 10), (c64, 10)])
def test_compositions_obey_every_law(dtype, examples, monkeypatch):
    """Products, sums, multiples, adjoints and stacks of the market, three deep; of its complex entries if complex.

    Solves at the least penalties may run out of iterations, here earlier than elsewhere, as long as they say so.
    """
    monkeypatch.setattr("pnp.tikhonov.PATIENCE", 400)
    names = COMPLEX if dtype.is_complex else None

    @given(data=st.data(), height=st.integers(4, 6), width=st.integers(4, 6), seed=seeds)
    @settings(max_examples=examples, deadline=None)
    def each(data, height, width, seed):
        atoms = operators(name=names, shape=(height, width), dtype=dtype.to_real())
        A = data.draw(compositions(atoms, depth=3))
        assert not broken(A, COMPOSITION_LAWS, seed=seed, dtype=dtype.to_real())

    each()


@pytest.mark.parametrize("name", [entry.name for entry in OPERATORS])
@given(data=st.data())
@settings(max_examples=1)
def test_complex_entries_are_those_of_complex_data(name, data):
    assert data.draw(operators(name=name)).complex_out == (name in COMPLEX)
