"""The trainer, its optimizers, snapshots and scores."""
