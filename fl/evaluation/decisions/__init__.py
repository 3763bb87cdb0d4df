"""How a network's probabilities become answers: score histograms, calibration, thresholds."""
