"""How well a model does: measures, thresholds, calibration, intervals by patient."""
