"""``make bench-learning``: Pointsman's learner against the peers people would pick instead, on tables of recorded outcomes."""

import os

for _threads in ("OPENBLAS", "OMP", "MKL"):
    os.environ.setdefault(f"{_threads}_NUM_THREADS", "1")  # before numpy is imported: two workers share two cores
