"""What carries requests to the sites of a simulation: this process, Ray, or Flower's engine."""
