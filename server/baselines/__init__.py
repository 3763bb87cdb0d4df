"""What a federation is compared with: local training at each site, and pooled training."""
