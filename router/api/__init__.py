"""The HTTP edge: reads requests strictly, calls one service each, and answers in one shape."""
