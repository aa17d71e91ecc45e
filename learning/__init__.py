"""The learner: features, evidence, posteriors, policies. Pure arrays; no I/O, clock, logging or global state."""
