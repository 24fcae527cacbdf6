"""What a trained refiner does, measured and drawn."""
