"""How processes share the tests out (pytest-xdist), and what no test may leave behind."""

import pytest
import torch

APART = "test_examples.py"  # its tests are long, and share nothing


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """One file's tests run in one process, since they share what its fixtures made; each example by itself.

    Files of many tests come first, examples last, so that no process waits long for another.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Files(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.partition("::")[0]
            return nodeid if file.endswith(APART) else file

    return Files(config, log)


@pytest.fixture(autouse=True)
def threads():
    """Later tests of the process would be slow, or not as repeatable, with another number of threads."""
    before = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == before, "the test has changed how many threads torch uses"
