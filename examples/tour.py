"""A tour of the plugin on the embedded store: real CNI calls, as a container runtime makes them.

Run it with ``make run``. It keeps its store in a temporary directory and needs no privileges.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PLUGIN = str(Path(sys.executable).with_name("whereabouts"))

FIRST = {"range": "192.168.2.225/28", "exclude": ["192.168.2.229/30", "192.168.2.236/32"]}
WIDE = {"range": "2001:1b74:480:60b1::/116", "gateway": "2001:1b74:480:60b1::1", "exclude_gateway": True}
DUAL = {"ipRanges": [{"range": "10.20.0.0/16"}, {"range": "fd00:20::/64"}]}
RED, BLUE = ({"range": "10.20.0.0/24", "network_name": name} for name in ("red", "blue"))


class Tour:
    """A runtime of one machine: it remembers what it has attached."""

    def __init__(self, directory: str) -> None:
        """A tour whose store lies in ``directory``."""
        self.database = f"{directory}/whereabouts.db"
        self.attached: list[tuple[str, Mapping[str, object]]] = []

    def call(self, command: str, pod: str, ipam: Mapping[str, object]) -> dict[str, Any]:
        """Start the plugin as a runtime does; its result, empty where it has none. Exits on an error."""
        run = self._run(command, pod, ipam)
        if run.returncode:
            sys.exit(f"{command} of {pod} failed: {run.stdout}{run.stderr}")
        result: dict[str, Any] = json.loads(run.stdout or "{}")
        return result

    def add(self, pod: str, ipam: Mapping[str, object]) -> None:
        """Attach a pod and print the addresses that it got."""
        result = self.call("ADD", pod, ipam)
        self.attached.append((pod, ipam))
        print(f"  {pod:8} {'  '.join(ip['address'] for ip in result['ips'])}")

    def refused(self, pod: str, ipam: Mapping[str, object]) -> None:
        """Try to attach a pod for which there is no address, and print the error."""
        run = self._run("ADD", pod, ipam)
        if not run.returncode:
            sys.exit(f"{pod} got an address that should not exist: {run.stdout}")
        print(f"  {pod:8} error {json.loads(run.stdout)['code']}: {json.loads(run.stdout)['msg']}")

    def delete(self, pod: str, ipam: Mapping[str, object]) -> None:
        """Detach a pod."""
        self.call("DEL", pod, ipam)
        self.attached.remove((pod, ipam))

    def show(self) -> str:
        """The table of ranges, as an operator gets it."""
        command = [PLUGIN, "show", "--local", self.database]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def _run(self, command: str, pod: str, ipam: Mapping[str, object]) -> subprocess.CompletedProcess[str]:
        config = {
            "cniVersion": "1.0.0",
            "name": "tour",
            "type": "macvlan",
            "ipam": {"type": "whereabouts", "local": {"path": self.database}, **ipam},
        }
        environment = {
            "PATH": os.environ["PATH"],
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": f"sandbox-of-{pod}",
            "CNI_NETNS": f"/var/run/netns/{pod}",
            "CNI_IFNAME": "net1",
            "CNI_PATH": "/opt/cni/bin",
            "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod}",
        }
        return subprocess.run(
            [PLUGIN], input=json.dumps(config), env=environment, capture_output=True, text=True
        )


def main() -> None:
    """Walk through the examples of the README."""
    with tempfile.TemporaryDirectory() as directory:
        tour = Tour(directory)
        print(f"The range {FIRST['range']} without {' and '.join(FIRST['exclude'])}, lowest address first:")
        for number in range(1, 10):
            tour.add(f"web-{number}", FIRST)
        tour.refused("web-10", FIRST)
        print("After web-4 is gone, its address is the next one:")
        tour.delete("web-4", FIRST)
        tour.add("web-11", FIRST)
        print(f"IPv6, {WIDE['range']}, without its gateway:")
        for number in range(1, 4):
            tour.add(f"six-{number}", WIDE)
        print("Dual stack, one address of each range:")
        for number in range(1, 4):
            tour.add(f"dual-{number}", DUAL)
        print("Ranges that overlap never give one address twice; networks by name are apart:")
        tour.add("also", {"range": "10.20.0.0/28"})
        tour.add("red-1", RED)
        tour.add("blue-1", BLUE)
        print(f"\n{tour.show()}\nEverything is given back:")
        for pod, ipam in list(tour.attached):
            tour.delete(pod, ipam)
        print(table := tour.show())
        if any(line.split()[3] != "0" for line in table.splitlines()[1:]):
            sys.exit("an address was not given back")
        print("All is free again.")


if __name__ == "__main__":
    main()
