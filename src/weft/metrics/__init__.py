"""Figures from counts and scores, over NumPy arrays."""
