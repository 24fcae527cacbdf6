"""Spectra of fields: coefficients, frequencies, multiplicities."""
