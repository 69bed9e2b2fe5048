"""``check_prior``: every law of a prior, applied and reported."""

from __future__ import annotations

from collections.abc import Callable

import torch

from pnp.functional import Functional

from . import prior_laws
from .prior_laws import PriorProbe
from .report import Finding, Report, broken_by

PriorLaw = Callable[[PriorProbe], Finding]

PRIOR_LAWS: tuple[PriorLaw, ...] = (
    prior_laws.shapes_and_dtypes_are_kept,
    prior_laws.no_noise_means_no_change,
    prior_laws.noise_is_removed,
    prior_laws.constants_are_kept,
    prior_laws.batch_mates_are_independent,
    prior_laws.calls_are_deterministic,
    prior_laws.arguments_are_untouched,
    prior_laws.the_outside_is_untouched,
    prior_laws.layout_does_not_matter,
    prior_laws.more_noise_means_more_smoothing,
    prior_laws.value_is_one_number_per_image,
    prior_laws.prox_minimises,
    prior_laws.prox_is_firmly_nonexpansive,
    prior_laws.gradient_is_the_slope,
    prior_laws.fresh_copies_are_private,
    prior_laws.memory_goes_with_its_image,
    prior_laws.refuses_what_is_no_image,
)


def check_prior(
    prior: Functional,
    raise_on_failure: bool = True,
    *,
    shape: tuple[int, ...] = (1, 32, 32),
    sigma: float = 0.1,
    dtype: torch.dtype = torch.float64,
    gap: float = 1e-9,
    batch_tol: float = 1e-9,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Report:
    """Apply every law of a prior: noise level, batch, determinism, and where it has a value optimality.

    ``gap`` is the relative excess over the minimum that an iterative ``prox`` may leave (say what you promise),
    ``batch_tol`` the relative difference allowed between an item alone and in a batch. A callable denoiser is checked
    as ``check_prior(Denoiser(D))``.

    Shapes: ``shape`` that of the pictures tried, (C, H, W) or (C, D, H, W).
    Units: ``sigma`` the noise level tried, for pictures in [0, 1].
    Raises: AssertionError that names every broken law with its numbers, unless ``raise_on_failure`` is False;
    TypeError if ``prior`` is no Functional.

    >>> from pnp import Functional, testing
    >>> class Shrink(Functional):  # wrong on purpose: g(x) = ||x||^2 / 2, but the prox ignores tau
    ...     convex = has_value = True
    ...
    ...     def __call__(self, x):
    ...         return x.square().sum(dim=(-3, -2, -1)) / 2
    ...
    ...     def prox(self, v, tau):
    ...         return v / 2
    >>> report = testing.check_prior(Shrink(), raise_on_failure=False)
    >>> [finding.law for finding in report.failures]
    ['identity as sigma -> 0', 'prox optimality', 'bad input refused']
    """
    if not isinstance(prior, Functional):
        raise TypeError(f"check_prior: expected a pnp.Functional, got {type(prior).__name__}; wrap it in pnp.Denoiser.")
    probe = PriorProbe(prior, shape, sigma, seed, dtype, gap, batch_tol, device)
    report = Report(repr(prior), tuple(apply_prior_law(law, probe) for law in PRIOR_LAWS))
    if raise_on_failure:
        report.raise_failures()
    return report


def apply_prior_law(law: PriorLaw, probe: PriorProbe) -> Finding:
    """The law's finding; an exception breaks it."""
    try:
        finding = law(probe)
    except Exception as error:  # noqa: BLE001 - reported: one fault must not hide the others
        finding = broken_by(error, law.__name__.replace("_", " "))
    return finding if finding.ok else finding.at(f"images {probe.shape}")
