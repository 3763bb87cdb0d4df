"""A real hospital's side of a deployment."""
