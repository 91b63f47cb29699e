"""Cells on a Ray cluster (extra `cluster`): its nodes need vpptwin installed, nothing else of this machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, cast

from twin.errors import TwinError
from twin.exits import UsageError
from twin.sweep.cells import Cell
from twin.sweep.pool import AHEAD, ONE_THREAD
from twin.sweep.work import Bench, Failure, Task

LOCAL = "local"


class Cluster:
    """An executor of one actor per core of the cluster."""

    def __init__(self, address: str, jobs: int | None = None) -> None:
        """Connect to `address` (`auto`, `HOST:PORT`, `ray://HOST:PORT`), or start a Ray of `jobs` cores for LOCAL.

        Raises UsageError where Ray is not installed, TwinError where no cluster answers.
        """
        try:
            import ray
        except ImportError as error:
            raise UsageError("Ray is not installed", where="--ray", mend="pip install 'vpptwin[cluster]'") from error
        self._ray = library = cast(Any, ray)
        where: dict[str, Any] = {"num_cpus": jobs} if address == LOCAL else {"address": address}
        environment = {"env_vars": dict.fromkeys(ONE_THREAD, "1")}
        try:
            library.init(**where, runtime_env=environment, log_to_driver=False, include_dashboard=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise TwinError(
                f"no cluster: {error}", where=f"--ray {address}", mend="give its address, or --ray local"
            ) from error
        cores = max(1, int(library.cluster_resources().get("CPU", 1)))
        bench = library.remote(num_cpus=1)(Bench)
        self._benches = [bench.remote() for _ in range(cores)]

    def results(self, tasks: Iterable[Task]) -> Iterator[Cell | Failure]:
        """As they are done. Raises TwinError where a node is lost."""
        rest, waiting = iter(tasks), dict[Any, Any]()
        free = self._benches * AHEAD
        while True:
            for task in islice(rest, len(free)):
                bench = free.pop()
                waiting[bench.do.remote(task)] = bench
            if not waiting:
                return
            done, _ = self._ray.wait(list(waiting), num_returns=1)
            for reference in done:
                free.append(waiting.pop(reference))
                yield self._result(reference)

    def close(self) -> None:
        """Leave the cluster; what runs for us ends with the connection."""
        self._ray.shutdown()

    def _result(self, reference: Any) -> Cell | Failure:
        try:
            found: Cell | Failure = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            mend = "finished cells are kept: the same command continues"
            raise TwinError(f"the cluster lost a worker: {error}", where="--ray", mend=mend) from error
        return found
