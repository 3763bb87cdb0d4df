"""What studies and measurements share."""
