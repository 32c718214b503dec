"""A trained model becomes a bundle that runs without torch."""
