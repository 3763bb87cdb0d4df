"""Patients are dealt to sites, and each site's patients to training, validation and test."""

import fl  # noqa: F401  (before NumPy: it limits the threads of linear algebra)
