"""Laws that every operator and prior obeys, for your own test-suite.

``check_operator(A)`` and ``check_prior(prior)`` apply them all and name every broken one; ``images()`` and
``compositions(atoms, depth)`` are hypothesis strategies for property tests.
"""

from .operator_check import check_operator
from .prior_check import check_prior
from .report import Finding, Report
from .strategies import compositions, images

__all__ = ["Finding", "Report", "check_operator", "check_prior", "compositions", "images"]
