"""What the remedies of a textbook are worth, one at a time, and what each costs."""
