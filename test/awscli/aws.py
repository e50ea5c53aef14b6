"""Runs the AWS CLI many times from one Python, as most of a command's second is the start of the interpreter.

usage: aws.py SOCKET

Each connection to the socket is one command: a line of JSON {"args", "env", "dir"} comes in and a line {"code", "stdout",
"stderr"} goes out. A command runs in a forked process of its own and is the unchanged main function of the CLI, with
the environment and the directory of who asked. Only imports are shared: nothing that depends on an environment or that
a command leaves behind. It ends with its standard input.
"""

import base64
import importlib
import json
import os
import socket
import sys
import tempfile
import threading
import traceback


def warm_up():
    """Imports whatever a command imports, by one that is refused a connection, in a process's own first moments."""
    import awscli.clidriver

    before = dict(os.environ)
    os.environ.update(
        AWS_ACCESS_KEY_ID="none", AWS_SECRET_ACCESS_KEY="none", AWS_DEFAULT_REGION="us-east-1", AWS_MAX_ATTEMPTS="1",
        AWS_EC2_METADATA_DISABLED="true", AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull)
    with open(os.devnull, "w") as null:
        sys.stdout, sys.stderr, out, err = null, null, sys.stdout, sys.stderr
        sys.argv = ["aws", "ecr", "describe-repositories", "--endpoint-url", "http://127.0.0.1:1"]
        awscli.clidriver.main()
        sys.stdout, sys.stderr = out, err
    os.environ.clear()
    os.environ.update(before)


def command(request):
    """Runs one command in this process and returns its exit code."""
    import awscli.clidriver

    os.chdir(request["dir"])
    os.environ.clear()
    os.environ.update(request["env"])
    importlib.reload(awscli)  # it adds the place of its data to the environment
    sys.argv = ["aws"] + request["args"]
    try:
        code = awscli.clidriver.main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code or 0


def serve(connection):
    """Answers one connection. It runs in a process of its own."""
    with connection, connection.makefile("rwb") as stream:
        request = json.loads(stream.readline())
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(stdout.fileno(), 1)
            os.dup2(stderr.fileno(), 2)
            answer = {"code": command(request)}
            for name, file in ("stdout", stdout), ("stderr", stderr):
                file.seek(0)
                answer[name] = base64.b64encode(file.read()).decode()
        stream.write(json.dumps(answer).encode() + b"\n")


def main(path):
    warm_up()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    print("listening", flush=True)
    # Forked processes have only the thread that forked, so that nothing of this one is left in a command.
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            try:
                serve(connection)
            except BaseException:
                traceback.print_exc()
            os._exit(0)
        connection.close()
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass


main(sys.argv[1])
