"""Measurements of trained refiners, bases and rollouts, with reports and pictures."""
