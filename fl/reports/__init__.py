"""Pages, figures, terminal tables and model cards, made from a run directory."""
