"""Do the intervals of off-policy evaluation and what-if hold the truth? Simulated logs, and recorded outcomes replayed."""
