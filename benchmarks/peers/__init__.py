"""The other side of a benchmark, in another interpreter and in turns with this one.

This environment has no PyTorch and no TensorFlow, on purpose.  Where a benchmark
compares with them, their side is a file here, `<benchmark>_<library>.py`, whose
functions are called in the process of an interpreter that has the library.
"""

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jaxvision.errors import UsageError

FOLDER = Path(__file__).parent


@contextlib.contextmanager
def peer(python: Path, script: str | Path) -> Iterator[Callable[..., Any]]:
    """`(name, *arguments) -> answer`: calls that function of the script over there.

    Args:
      python: the interpreter, in whose environment the other library is installed.
      script: a file of functions, by its path from this folder.

    Arguments and answers travel as JSON; arrays do as the path of a file.  The process
    waits without work between calls and ends with the context.

    Raises `UsageError` when the interpreter is missing, or ends before it answers; its
    own message is on the screen by then.
    """
    if not python.is_file():
        raise UsageError(
            f"no interpreter at {python}: give the path of a Python in whose "
            "environment the other library is installed"
        )
    with subprocess.Popen(
        [str(python), str(FOLDER / "server.py"), str(FOLDER / script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        questions, answers = process.stdin, process.stdout
        assert questions is not None and answers is not None

        def ask(name: str, *arguments: Any) -> Any:
            with contextlib.suppress(BrokenPipeError):
                print(json.dumps([name, *arguments]), file=questions, flush=True)
            answer = answers.readline()
            if not answer:
                raise UsageError(
                    f"{python} ended while it was asked for {name}: see its message "
                    "above, and whether it can import the other library"
                )
            return json.loads(answer)

        try:
            yield ask
        finally:
            with contextlib.suppress(BrokenPipeError):
                questions.close()
