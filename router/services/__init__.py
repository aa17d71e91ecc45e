"""What the service does: route, learn, take feedback, keep the catalogue."""
