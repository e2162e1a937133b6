from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.support import HELD

if TYPE_CHECKING:
    from collections.abc import Iterator

# what makes a run one of a part of the suite, besides the names of tests
PARTS = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf", "stepwise", "maxfail")

settings.register_profile(
    "ci", max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("long", settings.get_profile("ci"), max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_configure(config: pytest.Config) -> None:
    """Measure branches, and ask for enough of them, only where the whole suite runs.

    A part of the suite cannot reach the total; it is not measured either, unless the command
    line asks for that, as that costs each process a part of a second.
    """
    measure = config.pluginmanager.getplugin("_cov")
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    chosen = any(config.getoption(name, None) for name in PARTS)
    if measure is None or hasattr(config, "workerinput") or (whole and not chosen):
        return
    measure.options.cov_fail_under = None
    if not any(word.startswith("--cov") for word in config.invocation_params.args):
        measure.options.no_cov = config.option.no_cov = True
        if measure.cov_controller:
            measure.cov_controller.cov.stop()
        os.environ.pop("COVERAGE_PROCESS_CONFIG", None)  # what has children measured


@pytest.fixture(autouse=True)
def _dumps_are_closed() -> Iterator[None]:
    yield
    while HELD:
        HELD.pop().close()
