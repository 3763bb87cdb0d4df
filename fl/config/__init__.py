"""Every setting of a run, where it is read from, and its flags."""
