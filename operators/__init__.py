"""Catalogue of linear operators."""
