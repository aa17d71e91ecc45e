"""What other gateways export of the calls that were made through them, read without I/O: one module per gateway."""
