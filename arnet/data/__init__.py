"""Data sets, their episodes and their augmentation."""
