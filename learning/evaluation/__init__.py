"""What another policy would have been worth, from a log of decisions with known probabilities."""
