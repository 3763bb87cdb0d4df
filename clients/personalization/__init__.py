"""Models of a site's own, made of the federation's after its last round."""
