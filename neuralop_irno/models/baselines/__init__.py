"""Base operators of other works, to compare with."""
