"""What a site does: train on its own records, and evaluate a model on them."""
