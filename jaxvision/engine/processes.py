"""Several processes as one run: how they find each other, agree, and notice a death.

Every process runs the same program on its own devices.  The main one, process 0, also
writes: logs, pictures, records.  Whatever the processes decide, they decide together;
a decision that each takes by itself would leave some of them waiting in a collective
for others that are not coming.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from jaxvision.errors import UsageError, check

Lost = Callable[[str], None]


def start(
    coordinator: str | None,
    num_processes: int | None,
    process_id: int | None,
    *,
    timeout: int = 300,
    silence: int = 60,
) -> None:
    """Join the other processes; does nothing where this is the only one.

    Where they are is known under SLURM, Open MPI and on cloud TPUs, and from the
    environment that `python -m jaxvision launch` sets; elsewhere by the arguments.

    Args:
      coordinator: host:port of process 0, which the others can reach.
      num_processes, process_id: of how many processes this is which.
      timeout: seconds to wait for all to arrive.
      silence: seconds after which a process that is not heard of counts as lost.

    Raises `UsageError` if they do not arrive, or an argument is missing.
    """
    environment = os.environ
    coordinator = coordinator or environment.get("JAX_COORDINATOR_ADDRESS")
    if num_processes is None and "JAX_NUM_PROCESSES" in environment:
        num_processes = int(environment["JAX_NUM_PROCESSES"])
    if process_id is None and "JAX_PROCESS_ID" in environment:
        process_id = int(environment["JAX_PROCESS_ID"])
    if coordinator is None and not _in_cluster(environment):
        check(
            (
                num_processes is None and process_id is None,
                "--num-processes and --process-id need --coordinator host:port",
            )
        )
        return
    if not _in_cluster(environment):
        check(
            (
                num_processes is not None and process_id is not None,
                f"--coordinator {coordinator} needs --num-processes and --process-id: "
                "of how many processes this is which",
            ),
            (
                coordinator is None or coordinator.rpartition(":")[2].isdecimal(),
                f"--coordinator must be host:port, got {coordinator}",
            ),
        )
    global _silence
    _silence = silence
    # JAX would swallow SIGTERM for a service that we do not use, and end the process
    # by abort() when another one dies; we want to say why, and choose the exit code.
    jax.config.update("jax_enable_preemption_service", False)
    jax.config.update("jax_enable_recoverability", True)
    if coordinator is not None and process_id != 0:
        # JAX's own wait ends in abort(), which tells nobody which address was meant.
        _wait_for(coordinator, timeout)
    try:
        jax.distributed.initialize(
            coordinator,
            num_processes,
            process_id,
            initialization_timeout=timeout,
            heartbeat_timeout_seconds=silence,
            coordinator_bind_address=_bind_address(coordinator),
        )
    except Exception as error:
        where = coordinator or "the coordinator that the cluster names"
        raise UsageError(
            f"the processes did not all arrive at {where} within {timeout} s "
            f"({str(error).splitlines()[0]}): check that process 0 runs there, that "
            "the port is open, and that --num-processes is right"
        ) from error


def several() -> bool:
    """Whether this run consists of more than one process."""
    return jax.process_count() > 1


def is_main() -> bool:
    """Whether this is the process that writes."""
    return jax.process_index() == 0


def gather(value: Any) -> list[Any]:
    """What each process gives, which JSON can hold, by process; all must call."""
    if not several():
        return [value]
    from jax.experimental.multihost_utils import process_allgather

    content = np.frombuffer(json.dumps(value).encode(), np.uint8)
    sizes = process_allgather(np.int32(len(content)))
    # Each size compiles a program, so there should be few of them.
    padded = np.zeros(1 << int(max(sizes)).bit_length(), np.uint8)
    padded[: len(content)] = content
    rows = process_allgather(padded)
    return [
        json.loads(bytes(row[:size])) for row, size in zip(rows, sizes, strict=True)
    ]


def from_main(value: Any) -> Any:
    """The value of the main process, in every process."""
    return gather(value if is_main() else None)[0]


@contextlib.contextmanager
def together() -> Iterator[None]:
    """A `UsageError` inside, in any process, is raised in all of them."""
    mine = None
    try:
        yield
    except UsageError as error:
        mine = str(error)
    found = [message for message in gather(mine) if message is not None]
    if found:
        raise UsageError(found[0])


def check_same(facts: Mapping[str, Any]) -> None:
    """Raises `UsageError` that names every fact that differs between processes."""
    everywhere = gather(json.loads(json.dumps(facts)))
    differing = [
        f"  {name}: {everywhere[0].get(name)!r} in process 0, "
        f"{other.get(name)!r} in process {index}"
        for index, other in enumerate(everywhere)
        for name in sorted(everywhere[0] | other)
        if everywhere[0].get(name) != other.get(name)
    ]
    if differing:
        raise UsageError(
            "the processes of this run were not started alike:\n"
            + "\n".join(differing)
            + "\ngive all of them the same options and the same code"
        )


def watch(lost: Lost) -> None:
    """Call `lost(reason)` from a thread as soon as another process is gone."""
    if several():
        threading.Thread(target=_watch, args=(lost,), daemon=True).start()


def finish() -> None:
    """Leave together; after this, a process that goes is not missed.

    Process 0, which the others are connected to, goes last.
    """
    if several():
        gather("finished")
        _finished.set()
        if is_main():
            time.sleep(1.0)
        jax.distributed.shutdown()


def patience() -> float:
    """Seconds by which `watch` has noticed that a process is gone."""
    return _silence + 10


_finished = threading.Event()
_silence = 0


def _watch(lost: Lost) -> None:
    # There is no public way to ask who is alive that leaves the devices alone.
    from jax._src.distributed import global_state

    client: Any = global_state.client
    everyone = set(range(jax.process_count()))
    while not _finished.wait(1.0):
        try:
            alive = set(client.get_live_nodes(sorted(everyone)))
        except Exception as error:
            reason = f"the coordinator is gone ({str(error).splitlines()[0][:100]})"
            if not _finished.wait(5.0):  # it may just have finished before us
                lost(reason)
            return
        missing = sorted(everyone - alive)
        if missing and not _finished.wait(5.0):
            names = ", ".join(map(str, missing))
            lost(f"process {names} of {len(everyone)} is gone")
            return


def _bind_address(coordinator: str | None) -> str | None:
    """Where process 0 listens: on this machine alone, if the others are here.

    By default JAX listens on every interface, to whoever connects.
    """
    host = (coordinator or "").rpartition(":")[0]
    return coordinator if host in ("127.0.0.1", "localhost", "[::1]") else None


def _wait_for(address: str, timeout: int) -> None:
    """Block until something listens at `address`."""
    import socket

    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise UsageError(
                    f"no coordinator answers at {address} after {timeout} s ({error}): "
                    "check that process 0 runs there and that the port is open"
                ) from error
            time.sleep(0.2)


def _in_cluster(environment: Mapping[str, str]) -> bool:
    """Whether JAX can find out by itself where the other processes are."""
    tasks = max(
        int(environment.get("SLURM_NTASKS", 1)) if "SLURM_PROCID" in environment else 1,
        int(environment.get("OMPI_COMM_WORLD_SIZE", 1)),
    )
    hosts = environment.get("TPU_WORKER_HOSTNAMES", "").split(",")
    slices = int(environment.get("MEGASCALE_NUM_SLICES", 1))
    return tasks > 1 or len(hosts) > 1 or slices > 1
