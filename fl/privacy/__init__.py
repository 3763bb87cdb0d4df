"""What may leave a hospital."""
