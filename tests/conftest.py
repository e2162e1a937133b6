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
MEASURED = "cov_master_host"  # what the process that measures tells its workers

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
    workerinput = getattr(config, "workerinput", None)
    if measure is None or (_is_whole(config) if workerinput is None else MEASURED in workerinput):
        return
    if any(word.startswith("--cov") for word in config.invocation_params.args):
        measure.options.cov_fail_under = None
        return
    config.pluginmanager.unregister(measure)
    if measure.cov_controller:
        measure.cov_controller.cov.stop()
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)  # what has children measured


def _is_whole(config: pytest.Config) -> bool:
    chosen = any(config.getoption(name, None) for name in PARTS)
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS and not chosen


@pytest.fixture(autouse=True)
def _dumps_are_closed() -> Iterator[None]:
    yield
    while HELD:
        HELD.pop().close()
