"""What every test stands on: no network, and the quick answers first."""

import os

import pytest

# Before any test imports them: nothing below may look for models, prices or tokenizers on the network.
os.environ.update(
    HF_HUB_OFFLINE="1",
    LITELLM_LOCAL_MODEL_COST_MAP="True",
    TOKENIZERS_PARALLELISM="false",
    MPLBACKEND="agg",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests marked `slow` last; the order is otherwise as collected."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
