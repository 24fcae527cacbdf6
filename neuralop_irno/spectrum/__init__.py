"""Spectra of fields on grids, meshes and graphs."""
