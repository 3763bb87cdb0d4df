"""Beats as pictures: the random split of the literature beside patients kept apart."""
