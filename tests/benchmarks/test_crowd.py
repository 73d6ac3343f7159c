"""Signs with an identity, as the storm needs them."""

import sys
from socket import create_connection

from benchmarks.build import HERE
from benchmarks.crowd import crowd
from benchmarks.process import SERVER_CORE, ports_of, running
from benchmarks.signs import TOKEN

COUNT = 20


def test_a_crowd_says_when_it_is_enrolled_lit_and_lost() -> None:
    command = (sys.executable, "-m", "benchmarks.ours", TOKEN)
    with running(command, SERVER_CORE, cwd=HERE.parent) as server:
        port, control = ports_of(server)
        with crowd(COUNT, port) as signs:
            signs.come()
            dark = signs.wait_until_lit(False)
            assert 0 < dark.first_at <= dark.connected_at <= dark.right_at
            signs.wait_until_enrolled()
            with create_connection(("127.0.0.1", control)) as orders:
                orders.sendall(b"1")
                lit = signs.wait_until_lit(True)
            assert dark.right_at < lit.right_at
            server.kill()
            signs.wait_until_lost()
