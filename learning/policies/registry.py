"""All policies by name."""

from collections.abc import Callable, Mapping
from typing import Any

from learning.errors import InvalidContext
from learning.policies.epsilon_greedy import EpsilonGreedy
from learning.policies.fixed import Fixed
from learning.policies.greedy import Greedy
from learning.policies.linucb import LinUCB
from learning.policies.protocol import Policy
from learning.policies.thompson import Thompson
from learning.policies.uniform import Uniform

POLICIES: Mapping[str, Callable[..., Policy]] = {
    "thompson": Thompson,
    "linucb": LinUCB,
    "greedy": Greedy,
    "epsilon_greedy": EpsilonGreedy,
    "uniform": Uniform,
    "fixed": Fixed,
}


def make(name: str, **parameters: Any) -> Policy:
    """Build a policy.

    Raises
    ------
    InvalidContext
        No policy has that name, or a parameter is unknown or out of range.
    """
    policy = POLICIES.get(name)
    if policy is None:
        raise InvalidContext(f"no policy has that name; choose one of {', '.join(POLICIES)}")
    known = {f for f in getattr(policy, "__dataclass_fields__", {}) if f != "name"}
    if unknown := set(parameters) - known:
        raise InvalidContext(f"policy {name} has no parameter {', '.join(sorted(unknown))}; it takes {', '.join(sorted(known)) or 'none'}")
    return policy(**parameters)
