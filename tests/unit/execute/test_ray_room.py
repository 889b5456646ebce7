"""How many processes a cluster has room for, and the cores of each."""

import pytest

from triton_kit.execute.ray_held import Room

SMALL = {"CPU": 2.0}
LARGE = {"CPU": 8.0, "GPU": 4.0}
HEAD = {"CPU": 0.0, "GPU": 1.0}


@pytest.mark.parametrize(
    ("nodes", "asked", "found"),
    [
        ([SMALL, LARGE], {}, (2, 4)),
        ([SMALL, LARGE], {"cores": 4}, (1, 4)),
        ([SMALL, LARGE], {"count": 4}, (4, 2)),
        ([SMALL, LARGE], {"gpus": 1}, (4, 2)),
        ([SMALL, LARGE], {"gpus": 2}, (2, 4)),
        ([SMALL, LARGE], {"gpus": 1, "cores": 4}, (2, 4)),
        ([LARGE, LARGE], {"gpus": 3}, (2, 8)),
        ([LARGE, LARGE], {"gpus": 1, "count": 2}, (2, 8)),
        ([HEAD, LARGE], {"gpus": 1}, (4, 2)),
        ([SMALL], {"gpus": 1}, (1, 1)),
        ([], {}, (1, 1)),
    ],
)
def test_processes_fill_the_nodes_that_have_what_they_need(nodes, asked, found):
    assert Room(**({"count": None, "cores": None} | asked)).on(nodes) == found
