"""What is known of Ray's processes without asking Ray; Ray itself is not started."""

from __future__ import annotations

import socket
import threading

import pytest

from sweeper.engine.messages import Advanced, Lost
from sweeper.engine.ray.exchange import LossClassifier
from sweeper.engine.ray.pulse import Pulse, aside, knock


class Machine:
    """Two processes whose state a test sets, and a clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.state: dict[str, type[OSError] | None] = {"head:1": None, "node:2": None}

    def ask(self, address: str) -> None:
        if (fault := self.state[address]) is not None:
            raise fault

    def pulse(self, restart_seconds: float = 0.0) -> Pulse:
        return Pulse(
            "head:1",
            "node:2",
            restart_seconds=restart_seconds,
            ask=self.ask,
            clock=lambda: self.now,
        )


HEAD, NODE = "Ray's head process (GCS)", "Ray's node process (raylet) of this machine"


@pytest.mark.parametrize(("restart", "dead_at"), [(0.0, 0.0), (30.0, 30.0)])
def test_a_head_that_is_gone_is_dead_once_nobody_can_have_restarted_it(
    restart: float, dead_at: float
) -> None:
    machine = Machine()
    pulse = machine.pulse(restart)
    machine.state["head:1"] = ConnectionRefusedError
    pulse.look(HEAD)
    machine.now = dead_at - 1
    assert pulse.fault is None
    assert pulse.ill
    machine.now = dead_at
    assert pulse.fault == f"{HEAD} at head:1 has died"
    machine.state["head:1"] = None
    pulse.look(HEAD)
    assert pulse.fault is None


def test_one_that_is_stopped_is_silent_and_not_dead() -> None:
    machine = Machine()
    pulse = machine.pulse()
    machine.state["node:2"] = TimeoutError
    machine.now = 100.0
    pulse.look(HEAD)
    assert not pulse.node_died()
    assert pulse.fault is None
    assert pulse.silence == (100.0, NODE)
    assert pulse.ill
    machine.state["node:2"] = None
    pulse.look(NODE)
    assert pulse.silence[0] == 0.0


@pytest.mark.parametrize("dead", [True, False])
def test_a_worker_that_dies_with_the_node_of_this_machine_is_not_to_blame(dead: bool) -> None:
    machine = Machine()
    classifier = LossClassifier(machine.pulse(), "here")
    machine.state["node:2"] = ConnectionRefusedError if dead else None
    step, lost = Advanced(order=1, fraction=0.5), Lost(order=1, reason="died", where="here")
    first, second = classifier.review((step, lost))
    assert first is step
    assert isinstance(second, Lost)
    assert (second.node, second.reason) == (dead, "died (its node is gone)" if dead else "died")


def test_what_listens_has_to_speak_as_ray_does() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        asking = aside(knock, address)
        link, _ = server.accept()
        with link:
            link.sendall(b"HTTP/1.1 400 Bad Request\r\n")
            with pytest.raises(ConnectionError, match="not Ray"):
                asking.result(10)
    with pytest.raises(ConnectionRefusedError):
        knock(address)


def test_nobody_hangs_with_a_call_that_hangs() -> None:
    ends = threading.Event()
    call = aside(ends.wait)
    with pytest.raises(TimeoutError):
        call.result(0.01)
    call.give_up()
    assert "hanging" in {thread.name for thread in threading.enumerate()}
    ends.set()
    assert call.result(10) is True
