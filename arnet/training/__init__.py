"""The training loop, its stages, its logs and its resumable state."""
