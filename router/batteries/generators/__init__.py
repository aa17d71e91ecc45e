"""Makers of cases with known answers. A new one is a module here and a line in ``registry``."""
