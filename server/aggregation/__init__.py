"""How sites' updates become one model: Flower's strategies and what is added to them."""
