"""How a network is trained and applied at one site."""
