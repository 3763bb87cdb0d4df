"""One run from recordings to results, and the same run with several seeds."""
