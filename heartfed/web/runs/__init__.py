"""What the web application shows of run directories, and which of their files it may read."""
