"""The small program that decoders are forked from: `python -m dermabatch.imaging.decoder_parent`.

It loads what a decoder needs once, holds no framework, no secret and no connection, and lives as long as the
pool holds the other end of its control socket. It alone ends decoders: only a parent can be sure that a process
id still belongs to its child.
"""

import gc
import importlib
import os
import signal
import socket
import sys
import traceback
from types import ModuleType

from dermabatch.imaging.decoder_child import run_decoder
from dermabatch.imaging.decoder_wire import MAX_MESSAGE, pack, unpack


def main(control_fd: int, operations_name: str, memory_bytes: int) -> None:
    """Serve `spawn` and `end` until the pool is gone."""
    for asked_to_stop in (signal.SIGINT, signal.SIGTERM):
        # Ctrl-C and a supervisor's stop reach all processes; the pool decides when its last picture is done.
        signal.signal(asked_to_stop, signal.SIG_IGN)
    control = socket.socket(fileno=control_fd)
    operations = importlib.import_module(operations_name)
    operations.warm_up()
    gc.freeze()  # what is loaded now stays shared between all decoders
    decoders: set[int] = set()
    while True:
        message, fds, _, _ = socket.recv_fds(control, MAX_MESSAGE, 2)
        if not message:
            return
        request, _ = unpack(message)
        if request["do"] == "spawn":
            connection_fd, memory_fd = fds
            pid = _spawn(connection_fd, memory_fd, operations, memory_bytes)
            decoders.add(pid)
            control.send(pack({"pid": pid}))
        else:
            control.send(pack({"how": _end(request["pid"], decoders)}))


def _spawn(connection_fd: int, memory_fd: int, operations: ModuleType, memory_bytes: int) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            run_decoder(socket.socket(fileno=connection_fd), memory_fd, operations, memory_bytes, parent)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(connection_fd)
    os.close(memory_fd)
    return pid


def _end(pid: int, decoders: set[int]) -> str:
    """Kill a decoder where it still lives; how it ended, in words."""
    if pid not in decoders:
        return "ended with its parent process"
    decoders.remove(pid)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return f"was killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exited with status {os.WEXITSTATUS(status)}"


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
