"""Patients are dealt to sites, and each site's patients to training, validation and test."""
