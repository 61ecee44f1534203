"""A real cluster of Valkeys that a test owns: three primaries, each with a replica."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from tests.support.valkey import Valkey, free_port
from tests.support.waiting import until

PRIMARIES = 3
#: Milliseconds of silence after which a node is held to be dead by the others.
NODE_TIMEOUT = 1000


class Cluster:
    """`nodes` are all servers, the first three of which begin as primaries."""

    def __init__(self, directory: Path, count: int = 2 * PRIMARIES, *options: str) -> None:
        self.nodes: list[Valkey] = []
        self._directory = directory
        try:
            for number in range(count):
                self.nodes.append(self._node(number, options))
            self._form()
        except BaseException:
            self.close()
            raise

    def _node(self, number: int, options: tuple[str, ...]) -> Valkey:
        directory = self._directory / f"node-{number}"
        directory.mkdir()
        return Valkey(
            directory,
            *("--cluster-enabled", "yes", "--cluster-port", str(free_port())),
            *(
                "--cluster-node-timeout",
                str(NODE_TIMEOUT),
                "--cluster-replica-validity-factor",
                "0",
            ),
            *("--repl-diskless-sync-delay", "0"),
            *options,
        )

    def _form(self) -> None:
        first = self.nodes[0]
        bus = int(ask(first, "CONFIG", "GET", "cluster-port")[1])
        primaries = self.nodes[:PRIMARIES]
        for number, node in enumerate(primaries):
            share = REDIS_CLUSTER_HASH_SLOTS / len(primaries)
            slots = round(number * share), round((number + 1) * share) - 1
            ask(node, "CLUSTER", "ADDSLOTSRANGE", *slots)
        for number, node in enumerate(self.nodes):
            ask(node, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if node is not first:
                ask(node, "CLUSTER", "MEET", "127.0.0.1", first.port, bus)
        self.until(lambda: all(self._sees_all(node) for node in self.nodes), "all know each other")
        for replica, primary in zip(self.nodes[PRIMARIES:], primaries, strict=False):
            ask(replica, "CLUSTER", "REPLICATE", ask(primary, "CLUSTER", "MYID"))
        self.until(lambda: all(is_well(node) for node in self.nodes), "the cluster is up")

    def _sees_all(self, node: Valkey) -> bool:
        lines = ask(node, "CLUSTER", "NODES").decode().splitlines()
        return len(lines) == len(self.nodes) and "handshake" not in str(lines)

    @staticmethod
    def until(condition: Callable[[], object], what: str) -> None:
        until(condition, what, 40)

    @property
    def url(self) -> str:
        """Names two of the nodes, the last of them first."""
        some = self.nodes[-1], self.nodes[0]
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in some)

    @property
    def alive(self) -> list[Valkey]:
        return [node for node in self.nodes if node.running]

    def owner(self, key: str) -> Valkey:
        """The node that says of itself that it has this key's slot, once there is one."""
        slot = key_slot(key.encode())

        def found() -> list[Valkey]:
            return [node for node in self.alive if owns(node, slot)]

        return until(found, f"somebody has slot {slot}", 40)[-1]

    def replica_of(self, primary: Valkey) -> Valkey:
        """One that is in step with it."""
        port = str(primary.port).encode()

        def found() -> list[Valkey]:
            roles = ((node, ask(node, "ROLE")) for node in self.alive)
            return [
                n
                for n, r in roles
                if r[0] == b"slave" and port == b"%d" % r[2] and r[3] == b"connected"
            ]

        return until(found, f"{primary.port} has a replica")[0]

    def close(self) -> None:
        for node in self.nodes:
            node.close()


def ask(node: Valkey, *command: object) -> Any:
    """One command, with the answer as it comes."""
    with node.client(socket_timeout=10, protocol=2) as client:
        connection = client.connection_pool.get_connection()
        try:
            connection.send_command(*command)
            return connection.read_response()
        finally:
            connection.disconnect()


def owns(node: Valkey, slot: int) -> bool:
    """Whether it is a primary with this slot, in a cluster that is well."""
    if not is_well(node) or ask(node, "ROLE")[0] != b"master":
        return False
    mine = ask(node, "CLUSTER", "MYID")
    return any(
        first <= slot <= last and primary[2] == mine
        for first, last, primary, *_ in ask(node, "CLUSTER", "SLOTS")
    )


def is_well(node: Valkey) -> bool:
    """Whether its cluster is up and, for a replica, its primary's data are here."""
    role = ask(node, "ROLE")
    in_step = role[0] == b"master" or role[3] == b"connected"
    return in_step and b"cluster_state:ok" in ask(node, "CLUSTER", "INFO")
