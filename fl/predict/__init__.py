"""Apply a trained model to recordings: `python -m fl.predict --weights W RECORD...`."""
