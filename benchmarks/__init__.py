"""Studies of what the project is worth and measurements of what it costs."""
