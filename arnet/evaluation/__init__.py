"""Protocols, metrics and the evaluator."""
