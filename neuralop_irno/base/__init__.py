"""Adapters around base operators: neuraloperator's, PyTorch Geometric's, and any other module."""
