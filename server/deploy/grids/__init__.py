"""Flower grids of a deployment, one around the other."""
