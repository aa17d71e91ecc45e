"""A stand-in for the providers, for tests and benchmarks: their wire formats over HTTP on loopback, as scripted.

    with Stub() as stub:
        stub.script("gpt-4o", Scenario(status=429, retry_after="2"), Scenario(text="Good morning."))
        client = openai.OpenAI(base_url=stub.base_url("openai"), api_key="any")

The first call is refused, every later one answered; ``stub.requests`` holds what came in and who hung up early.
"""

from router.testing.pupils import Pupil, Pupils
from router.testing.scenarios import Fault, Scenario
from router.testing.stub import Received, Stub

__all__ = ["Fault", "Pupil", "Pupils", "Received", "Scenario", "Stub"]
