"""Policies: from beliefs about the eligible models to the probability of choosing each.

A new policy is one file and one line in ``registry``; the contract suite picks it up by itself.
"""

from learning.policies.protocol import Beliefs, Policy
from learning.policies.registry import POLICIES, make

__all__ = ["POLICIES", "Beliefs", "Policy", "make"]
