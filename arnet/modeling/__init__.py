"""The network: one part of the paper, one file."""
