"""What tests of the command line share."""

import pytest
from kills import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A process that forks commands."""
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.close()
