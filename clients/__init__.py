"""What a site does: train on its own records, and evaluate a model on them."""

import fl  # noqa: F401  (before NumPy: it limits the threads of linear algebra)
