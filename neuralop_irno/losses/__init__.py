"""The losses of training: `RefinementLoss` and its parts."""
