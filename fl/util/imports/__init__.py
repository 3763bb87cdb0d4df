"""How modules are loaded: faster, more quietly, and only when they are needed."""
