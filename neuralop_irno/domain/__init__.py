"""The domains of fields: grids and point sets, with their means and norms."""
