"""Ask the warm server to run a program as this process would, and end as it ends.

Stands in for `python` in the shell commands of the workflow's jobs. Servers are started by the
real one: what keeps watch over them goes by who their parents are.
"""

import array
import json
import os
import signal
import socket
import sys
from pathlib import Path

COLD = ("serve_model.py",)


def run(line, folder, environment, streams, place):
    """Return the exit status of a program, negative if a signal ended it."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(place)
        asked = {"line": line, "folder": folder, "environment": environment}
        text = json.dumps(asked).encode() + b"\n"
        sent = socket.send_fds(server, [text], streams)
        server.sendall(text[sent:])
        said = server.recv(4)
    if len(said) < 4:
        raise SystemExit("error: the warm server is gone")
    return array.array("i", said)[0]


def main():
    line = sys.argv[1:]
    if not line or not line[0].endswith(".py") or Path(line[0]).name in COLD:
        os.execv(sys.executable, [sys.executable, *line])
    environment = dict(os.environ)
    status = run(line, str(Path.cwd()), environment, [0, 1, 2], environment["SFTFLOW_WARM"])
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


if __name__ == "__main__":
    main()
