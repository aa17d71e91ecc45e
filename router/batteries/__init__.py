"""Test batteries as files, those that ship, and the generators of their cases."""
