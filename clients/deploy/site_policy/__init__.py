"""What a coordinator may ask of this hospital, and the check of every request against it."""
