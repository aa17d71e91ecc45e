"""What callers get, for the documentation: the answers themselves are written straight from the domain's values."""
