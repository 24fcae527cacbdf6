"""Anybody's operator, called as it wants to be called."""
