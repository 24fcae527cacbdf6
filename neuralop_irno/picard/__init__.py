"""Picard iteration inside a network: blocks that are iterated until they rest."""
