"""Generators by real solvers, and readers."""
