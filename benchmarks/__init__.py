"""Studies of what the project is worth and measurements of what it costs."""

import fl  # noqa: F401  (before NumPy: it limits the threads of linear algebra)
