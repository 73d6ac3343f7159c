"""Samples of what Discord sends."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FIXTURES = Path(__file__).parent.parent / "fixtures"


@pytest.fixture(scope="session")
def sample() -> Callable[[str], Any]:
    """`sample("gateway/ready")`: that file's JSON."""
    return lambda name: json.loads((FIXTURES / f"{name}.json").read_text())


@pytest.fixture(scope="session")
def sent(sample: Callable[[str], Any]) -> Callable[[str], bytes]:
    """`sent("ready")`: that gateway message as Discord writes it."""
    return lambda name: json.dumps(
        sample(f"gateway/{name}"), separators=(",", ":")
    ).encode()


@pytest.fixture(scope="session")
def gateway_samples() -> list[str]:
    """Names of all gateway messages that Discord sends."""
    return sorted(
        path.stem
        for path in (FIXTURES / "gateway").glob("*.json")
        if not path.stem.endswith(("_send", "_send_null", "_frames", "close_codes"))
    )
