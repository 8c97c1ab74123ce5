"""What is deployed: light wrappers without Lightning or Hydra."""
