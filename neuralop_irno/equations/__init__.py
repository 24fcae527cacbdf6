"""Equations that fields solve, by their residual: `Equation`, `LinearEquation` and equations by name."""
