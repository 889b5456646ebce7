"""Which library stands in for malloc."""

import pytest

from triton_kit.errors import ServerError
from triton_kit.serving import allocator
from triton_kit.serving.allocator import preload


def test_the_systems_own_needs_no_library():
    assert preload("system") == ""


@pytest.mark.parametrize("name", ["tcmalloc", "jemalloc"])
def test_one_that_is_not_installed_is_refused_with_its_package(name, monkeypatch):
    monkeypatch.setattr(allocator, "find_library", lambda _: None)

    with pytest.raises(ServerError, match=f"apt-get install lib{name}"):
        preload(name)


def test_the_smaller_tcmalloc_is_preferred(monkeypatch):
    monkeypatch.setattr(allocator, "find_library", lambda name: f"lib{name}.so.4")

    assert preload("tcmalloc") == "libtcmalloc_minimal.so.4"
