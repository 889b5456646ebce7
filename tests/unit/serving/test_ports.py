"""Ports that are chosen are free, and no two are the same."""

import itertools
import socket

from triton_kit.serving import ports


def free_ports(count):
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind((ports.LOOPBACK, 0))
    numbers = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return numbers


def test_a_port_that_is_drawn_twice_is_chosen_once(monkeypatch):
    one, two, three = free_ports(3)
    draws = itertools.chain([one, one, one, two, one, two], itertools.repeat(three))

    class Draw:
        def randint(self, lowest, highest):
            return next(draws)

    monkeypatch.setattr(ports.random, "SystemRandom", Draw)
    wanted = {"http-port": None, "grpc-port": None, "metrics-port": None}

    assert ports.choose_ports(wanted) == {
        "http-port": one,
        "grpc-port": two,
        "metrics-port": three,
    }


def test_a_chosen_port_is_free_again_at_once():
    for _ in range(20):
        chosen = ports.choose_ports({"http-port": None})["http-port"]
        assert ports.choose_ports({"http-port": chosen}) == {"http-port": chosen}
