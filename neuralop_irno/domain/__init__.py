"""Where fields live: grids and point sets, with their means and norms."""
