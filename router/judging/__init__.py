"""Judges: what scores an answer, each in a file of its own and listed in ``registry``."""
