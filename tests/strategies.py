"""The markets of operators and priors, joined."""

from pnp.operators.strategies import ENTRIES as OPERATORS
from pnp.operators.strategies import operators

__all__ = ["OPERATORS", "operators"]
