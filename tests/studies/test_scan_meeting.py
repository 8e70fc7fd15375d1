"""The processes of a scan connect before JAX connects them: real sockets, in threads."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from qnn_jax.errors import InputError, TrainingFailedError
from qnn_jax.studies.meeting import check_meeting, meet


@pytest.fixture
def address() -> str:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{bound.getsockname()[1]}"


def all_meet(address: str, *processes: tuple[int, int], seconds: float = 5) -> list:
    """The outcome of each (process, number of processes): None, or its exception."""

    def one(given: tuple[int, int]) -> Exception | None:
        try:
            meet(address, given[1], given[0], seconds)
        except (InputError, TrainingFailedError) as error:
            return error
        return None

    with ThreadPoolExecutor(len(processes)) as pool:
        return list(pool.map(one, processes))


def test_all_continue_together_and_free_the_port(address: str) -> None:
    for _ in range(2):  # at once again on the same port
        assert all_meet(address, (2, 3), (0, 3), (1, 3)) == [None, None, None]
    with socket.socket() as after:
        after.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        after.bind(("127.0.0.1", int(address.rpartition(":")[2])))


def test_all_wait_for_the_last_process(address: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        early = [pool.submit(meet, address, 3, number, 10) for number in (0, 1)]
        time.sleep(0.6)
        assert not any(one.done() for one in early)
        meet(address, 3, 2, 10)
        assert [one.result(timeout=5) for one in early] == [None, None]


def test_a_taken_port_is_named_at_once(address: str) -> None:
    port = int(address.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        began = time.monotonic()
        with pytest.raises(
            InputError,
            match=rf"^Argument `coordinator` must be a free port .* but 127.0.0.1:{port} cannot "
            r"be taken \(Address already in use\); give all processes another one\.$",
        ):
            meet(address, 2, 0, 60)
        assert time.monotonic() - began < 5


def test_another_machines_address_cannot_be_listened_on() -> None:
    with pytest.raises(InputError, match="cannot be taken"):
        meet("192.0.2.1:54100", 2, 0, 60)


def test_an_unknown_host_is_named_at_once() -> None:
    with pytest.raises(InputError, match=r"must name a host that is known here, but is 'no\.inval"):
        meet("no.invalid:54100", 2, 1, 60)


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        ((0, 3), "processes 1, 2 did not connect"),
        ((1, 2), "process 0 cannot be reached"),
    ],
)
def test_a_missing_process_is_named(address: str, there: tuple[int, int], missing: str) -> None:
    (error,) = all_meet(address, there, seconds=0.5)
    assert isinstance(error, TrainingFailedError)
    assert str(error) == (
        f"Not all processes of the scan connected at {address} within 0.5 s ({missing}); start all "
        "of "
        "them with the same arguments and the same `coordinator`, each with its own `process_id`."
    )


def test_a_wait_for_a_third_process_is_reported(address: str) -> None:
    first, second = all_meet(address, (0, 3), (1, 3), seconds=1)
    assert "(process 2 did not connect)" in str(first)
    assert "(another process did not connect)" in str(second) or "process 0" in str(second)


def test_other_numbers_of_processes_are_refused_in_both(address: str) -> None:
    first, second = all_meet(address, (0, 2), (1, 3))
    assert isinstance(first, InputError)
    assert isinstance(second, InputError)
    assert str(first) == str(second)
    assert str(first) == (
        "Argument `num_processes` must be the same in all processes, but is 2 in process 0 and 3 "
        "in process 1."
    )


def test_a_number_that_is_there_twice_is_refused_in_the_second(address: str) -> None:
    outcomes = all_meet(address, (0, 3), (1, 3), (1, 3), seconds=2)
    assert "(process 2 did not connect)" in str(outcomes[0])
    assert [str(error) for error in outcomes[1:] if isinstance(error, InputError)] == [
        "Argument `process_id` must be another one in each process, but is 1 in two of them."
    ]


def test_a_process_that_disconnected_is_waited_for(address: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(meet, address, 3, 0, 10)
        while True:  # a process 1 that connects and is killed
            with socket.socket() as killed:
                if killed.connect_ex(("127.0.0.1", int(address.rpartition(":")[2]))) == 0:
                    killed.sendall(b"qnn_jax scan: process 1 of 3\n")
                    time.sleep(0.2)
                    break
        second = threading.Thread(target=all_meet, args=(address, (2, 3)))
        second.start()
        time.sleep(0.6)
        assert not first.done()
        meet(address, 3, 1, 10)
        assert first.result(timeout=5) is None
        second.join()


def test_other_clients_are_not_counted_as_processes(address: str) -> None:
    port = int(address.rpartition(":")[2])
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(meet, address, 2, 0, 10)
        for words in (b"GET / HTTP/1.1\r\n\r\n", b"x" * 5000):
            with socket.socket() as stranger:
                while stranger.connect_ex(("127.0.0.1", port)):
                    time.sleep(0.05)
                stranger.sendall(words)
        meet(address, 2, 1, 10)
        assert first.result(timeout=5) is None


def test_another_server_in_place_of_process_0_is_named(address: str) -> None:
    port = int(address.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)) as server, ThreadPoolExecutor(1) as pool:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n")

        pool.submit(answer)
        with pytest.raises(InputError, match=r"`coordinator` .* something else answers\.$"):
            meet(address, 2, 1, 10)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, None, 2, 0), "`coordinator` must be given for several processes"),
        ((0, "here", 1, 0), "`coordinator` must be HOST:PORT or auto, but is 'here'"),
        ((0, "a:65536", 1, 0), "`coordinator` must be HOST:PORT or auto, but is 'a:65536'"),
        ((0, None, 1, 1), "`process_id` must be below `num_processes`, 1, but is 1"),
        ((-1, None, 1, 0), "`devices` must be an integer of at least 0, but is -1"),
    ],
)
def test_processes_that_cannot_meet_are_refused_before(arguments, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_meeting(*arguments)
    check_meeting(0, "auto", 1, 5)
