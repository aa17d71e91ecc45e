"""One stub for all provider tests, and the contract beside them."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from router.testing import Stub

sys.path.insert(0, str(Path(__file__).parent))  # tests are no packages, and the provider modules share a contract
pytest.register_assert_rewrite("provider_contract")


@pytest.fixture(scope="session")
def running_stub() -> Iterator[Stub]:
    with Stub() as stub:
        yield stub


@pytest.fixture
def stub(running_stub: Stub) -> Stub:
    running_stub.forget()
    return running_stub
