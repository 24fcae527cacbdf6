"""Reporters that write to CSV, TensorBoard, Weights & Biases and MLflow."""
