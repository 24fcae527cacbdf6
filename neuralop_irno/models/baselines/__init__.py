"""Base operators from other papers, for comparison."""
