"""Another interpreter beside this one, in turns with it: the other side of a benchmark.

Our environment has no PyTorch and no TensorFlow, on purpose.  A benchmark that compares
with them writes their side as a script of functions, and calls these by name in the
process of an interpreter that has the library.
"""

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jaxvision.errors import UsageError

# What the script prints goes to the screen, so that answers stay alone on their pipe.
_BEFORE = """
import sys
_answers, sys.stdout = sys.stdout, sys.stderr
"""
_AFTER = """
def _serve():
    import json
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(globals()[name](*arguments)), file=_answers, flush=True)

_serve()
"""


@contextlib.contextmanager
def peer(python: Path, script: str | Path) -> Iterator[Callable[..., Any]]:
    """`(name, *arguments) -> answer`: calls that function of the script over there.

    The script is a file or the text itself.  Arguments and answers travel as JSON;
    arrays do as the path of a file.  The process waits without work between calls and
    ends with the context.

    Raises `UsageError` when the interpreter is missing, or ends before it answers: what
    it had to say stands on the screen by then.
    """
    if not python.is_file():
        raise UsageError(
            f"no interpreter at {python}: give the path of a Python in whose "
            "environment the other library is installed"
        )
    if isinstance(script, Path):  # with its name, for tools that read the source
        file, text = str(script), script.read_text(encoding="utf-8")
        script = f"exec(compile({text!r}, {file!r}, 'exec'))"
    with subprocess.Popen(
        [str(python), "-c", f"{_BEFORE}\n{script}\n{_AFTER}"],
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
