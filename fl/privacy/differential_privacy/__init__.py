"""Differential privacy whose unit is the patient: noise, accountant, private training."""
