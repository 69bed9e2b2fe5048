"""Catalogue of priors."""
