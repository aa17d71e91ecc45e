"""What a call costs on its way through the gateway."""
