"""What it is worth: settings, models and data sets compared."""
