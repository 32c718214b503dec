"""How long a segmenter takes, what it holds in memory, and whether speed cost accuracy.

Nothing here knows what computes the masks: a contender is a name and a way to open a
``FewShotSegmenter``.
"""
