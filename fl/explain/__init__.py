"""Where a model looked in a recording, and how it arranges recordings: computes, draws nothing."""
