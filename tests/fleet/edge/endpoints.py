"""What can happen to an endpoint while requests are on their way to it."""

from dataclasses import dataclass

from fleet.machine import Machine


@dataclass(frozen=True)
class Endpoint:
    """The container that takes a node's share of the traffic."""

    node: Machine
    container: str

    @classmethod
    def of(cls, node: Machine) -> "Endpoint":
        """Return the endpoint that runs on a node; fails unless there is just one."""
        (container,) = node.containers()
        return cls(node, container["Name"].lstrip("/"))

    def processes(self) -> list[str]:
        """Return the ids, on the node, of its processes, the one that started the others first."""
        return self.node.run("docker", "top", self.container, "-eo", "pid").split()[1:]

    def end(self, signal: str) -> str:
        """Send a signal to its first process, as a crash would come, not by the engine; return that process."""
        first = self.processes()[0]
        self.node.run("kill", f"-{signal}", first)
        return first

    def came_back(self, ended: str) -> bool:
        """Tell whether the engine has started it again since the process `ended`, and it is ready."""
        return ended not in self.node.attempt(["docker", "top", self.container]).stdout and self.ready()

    def freeze(self) -> None:
        """Stop all of its processes, whose connections stay."""
        self.node.run("kill", "-STOP", *self.processes())

    def thaw(self) -> None:
        """Let its processes go on."""
        self.node.run("kill", "-CONT", *self.processes())

    def kill(self) -> None:
        """Kill it for good."""
        self.node.run("docker", "kill", self.container)

    def start(self) -> None:
        """Start it again."""
        self.node.run("docker", "start", self.container)

    def ready(self) -> bool:
        """Tell whether it answers, on its own machine, that it is ready."""
        asked = self.node.attempt(
            ["docker", "exec", self.container, "python3", "-m", "model_endpoint.runtime.health"]
        )
        return asked.returncode == 0
