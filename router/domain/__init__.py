"""What the service talks about: models, tasks, decisions, outcomes, feedback. Frozen values, no I/O."""
