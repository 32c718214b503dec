"""The training loop, its feature cache, its logs and its resumable state."""
