"""``GET /v1/incidents``: what is told of a model that has changed."""

import math

from learning.drift import Incident, Level
from learning.targets import Target
from tests.api.conftest import CountingTraining, Rig


async def test_no_incident_is_an_empty_list(rig: Rig) -> None:
    answer = await rig.client.get("/v1/incidents")
    assert answer.status_code == 200
    assert answer.json() == {"incidents": [], "seq": 0}


async def test_newest_first_with_open_and_closed_ones(rig: Rig) -> None:
    training = rig.services.training
    assert isinstance(training, CountingTraining)
    quality = Level(0.8, 0.75, 0.85), Level(0.4, 0.3, 0.5)
    tokens = Level(math.log(300), math.log(250), math.log(360)), Level(math.log(900), math.log(800), math.log(1000))
    training.incidents = [
        Incident("acme/small", "summarization", Target.QUALITY, 310, 280, *quality, 4.2, 310, closed=2_110),
        Incident("acme/large", None, Target.OUTPUT_TOKENS, 3_000, 2_990, *tokens, 6.5, 3_040, alarms=2),
    ]
    new, old = (await rig.client.get("/v1/incidents")).json()["incidents"]
    assert (new["status"], new["model"], new["task_type"], new["target"], new["direction"]) == (
        "open", "acme/large", None, "output_tokens", "up",
    )  # fmt: skip
    assert round(new["before"]["mean"]) == 300
    assert round(new["after"]["mean"]) == 900
    assert (new["opened_seq"], new["since_seq"], new["latest_seq"], new["closed_seq"], new["alarms"]) == (3_000, 2_990, 3_040, None, 2)
    assert (old["status"], old["direction"], old["after"], old["closed_seq"]) == (
        "closed", "down", {"mean": 0.4, "low": 0.3, "high": 0.5}, 2_110,
    )  # fmt: skip
