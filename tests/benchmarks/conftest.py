import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parents[2])
if ROOT not in sys.path:  # benchmarks are not installed with the service
    sys.path.insert(0, ROOT)
