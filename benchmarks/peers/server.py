"""Calls the functions of a script on request; what `peers.peer` starts elsewhere.

    PYTHON benchmarks/peers/server.py SCRIPT

A request is a line of JSON on the standard input, `[name, *arguments]`; the answer is a
line of JSON on the standard output.  What the script prints goes to the standard error,
so that answers are alone on theirs.
"""

import importlib
import json
import sys
from pathlib import Path


def main(script):
    answers, sys.stdout = sys.stdout, sys.stderr
    sys.path.insert(0, str(script.parent))
    module = importlib.import_module(script.stem)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        answer = getattr(module, name)(*arguments)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
