"""The content of each page: the federation's, a hospital's, and several runs side by side."""
