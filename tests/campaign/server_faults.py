"""Faults of the servers under a store: members of etcd, the API server and its etcd."""

import signal
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPException
from random import Random

from ..api_server import ApiServer
from ..etcd_server import EtcdServer
from .process_faults import DiskFull


class Cluster:
    """The members of an etcd cluster, and who of them was taken away: faults of several kinds overlap."""

    def __init__(self, members: Sequence[EtcdServer]) -> None:
        self.members = members
        self._stopped: set[str] = set()
        self.full: set[str] = set()
        """The names of members that have no room, so that they may end at any time."""

    def kill(self, member: EtcdServer) -> None:
        """SIGKILL it; also if it is stopped."""
        member.kill()
        self._stopped.discard(member.name)

    def stop(self, member: EtcdServer) -> None:
        """SIGSTOP it, if it runs."""
        if member.process is not None:
            member.signal(signal.SIGSTOP)
            self._stopped.add(member.name)

    def resume(self) -> None:
        """SIGCONT all that are stopped."""
        for member in self.members:
            if member.name in self._stopped:
                member.signal(signal.SIGCONT)
        self._stopped.clear()
        self.await_leader()

    def revive(self) -> None:
        """Start all that do not run, be it that they were killed or that they ended."""
        for member in self.members:
            gone = member.process is None or member.process.poll() is not None
            if gone and member.name not in self.full:
                member.kill()
                member.start()
        self.await_leader()

    def await_leader(self) -> None:
        """Wait until all members with room know a leader, if they all run: else there may be none."""
        able = [member for member in self.members if member.name not in self.full]
        if not self._stopped and all(member.process and member.process.poll() is None for member in able):
            for member in able:
                member.wait()

    def leader(self) -> EtcdServer:
        """The member that leads; the first where none says so."""
        for member in self.members:
            with suppress(OSError, HTTPException, AssertionError):
                if member.name not in self._stopped and member.process and member.is_leader():
                    return member
        return self.members[0]


class MemberKilled:
    """SIGKILL of any member, and a start on its data."""

    name = "etcd member killed"
    seconds = (0.2, 8.0)
    weight = 1.5

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def strike(self, random: Random) -> None:
        self._cluster.kill(random.choice(self._cluster.members))

    def heal(self) -> None:
        self._cluster.revive()


class LeaderStopped:
    """SIGSTOP of the leader: the others elect one, and it learns of that when it goes on."""

    name = "etcd leader stopped"
    seconds = (0.3, 9.0)
    weight = 1.5

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def strike(self, random: Random) -> None:
        self._cluster.stop(self._cluster.leader())

    def heal(self) -> None:
        self._cluster.resume()


class QuorumLost:
    """Two of three members are killed: nothing can be written, and nothing read that has to be sure."""

    name = "etcd quorum lost"
    seconds = (0.5, 12.0)
    weight = 0.7

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def strike(self, random: Random) -> None:
        for member in random.sample(list(self._cluster.members), 2):
            self._cluster.kill(member)

    def heal(self) -> None:
        self._cluster.revive()


class AllStopped:
    """All members are stopped: what was sent is done later, when those who asked have given up."""

    name = "etcd stopped"
    seconds = (0.3, 15.0)
    weight = 0.7

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def strike(self, random: Random) -> None:
        for member in self._cluster.members:
            self._cluster.stop(member)

    def heal(self) -> None:
        self._cluster.resume()


class NoSpace:
    """etcd's alarm for a database that has reached its quota: it refuses all writes, and is read."""

    name = "etcd database full"
    seconds = (0.5, 8.0)
    weight = 0.7
    _path = "/v3/maintenance/alarm"

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._struck = False

    def strike(self, random: Random) -> None:
        self._struck = True
        with suppress(OSError, HTTPException, AssertionError, KeyError):
            member = self._cluster.leader()
            number = member.call("/v3/maintenance/status")["header"]["member_id"]
            member.call(self._path, {"action": "ACTIVATE", "memberID": number, "alarm": "NOSPACE"})

    def heal(self) -> None:
        if not self._struck:
            return
        self._cluster.resume()
        self._cluster.revive()
        member = self._cluster.leader()
        for alarm in member.call(self._path, {"action": "GET"}).get("alarms", []):
            member.call(self._path, {**alarm, "action": "DEACTIVATE"})
        self._struck = False


class MemberDiskFull(DiskFull):
    """Not a byte is left where one member has its data: sooner or later it ends, and stays away."""

    name = "disk of an etcd member full"
    seconds = (1.0, 10.0)

    def __init__(self, member: EtcdServer, cluster: Cluster) -> None:
        super().__init__(member.folder)
        self._member = member
        self._cluster = cluster

    def strike(self, random: Random) -> None:
        self._cluster.full.add(self._member.name)
        super().strike(random)

    def heal(self) -> None:
        super().heal()
        self._cluster.full.discard(self._member.name)
        self._cluster.revive()


class ServerKilled:
    """SIGKILL of the API server or of its etcd, and a start on the same port and data."""

    weight = 0.6

    def __init__(self, server: ApiServer, program: str) -> None:
        self.name = f"{program} killed"
        self.seconds = (0.1, 5.0)
        self._server = server
        self._program = program

    def strike(self, random: Random) -> None:
        self._server.signal(self._program, signal.SIGKILL)

    def heal(self) -> None:
        for program in ("etcd", "kube-apiserver"):  # one that is stopped would be waited for
            self._server.signal(program, signal.SIGCONT)
        self._server.revive()


class ServerStopped:
    """SIGSTOP of the API server or of its etcd: what was sent is done later."""

    weight = 1.0

    def __init__(self, server: ApiServer, program: str) -> None:
        self.name = f"{program} stopped"
        self.seconds = (0.3, 15.0)
        self._server = server
        self._program = program

    def strike(self, random: Random) -> None:
        self._server.signal(self._program, signal.SIGSTOP)

    def heal(self) -> None:
        self._server.signal(self._program, signal.SIGCONT)
