"""Losses: a prediction and a target in, a sum and a count out."""
