"""The markets of operators and priors, joined."""

from pnp.operators.strategies import COMPLEX, operators
from pnp.operators.strategies import ENTRIES as OPERATORS
from pnp.priors.strategies import ENTRIES as PRIORS
from pnp.priors.strategies import cheap_priors, convex_priors, priors

__all__ = ["COMPLEX", "OPERATORS", "PRIORS", "cheap_priors", "convex_priors", "operators", "priors"]
