"""What each page says: the federation's, a hospital's, and several runs side by side."""
