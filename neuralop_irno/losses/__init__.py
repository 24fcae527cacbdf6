"""What a refiner is trained on."""
