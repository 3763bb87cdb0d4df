"""`heartfed runs attack`: what an attacker learns from a run."""
