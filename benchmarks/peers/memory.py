"""How much memory a process holds at most, for either side of a benchmark."""

import ctypes
import re
from pathlib import Path

STATUS, REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak(work, *arguments):
    """Bytes that this process holds at most while `work(*arguments)` runs, with all
    that it held before; None where the system does not tell, which Linux does."""
    if not REFERENCES.exists():
        return None
    ctypes.CDLL(None).malloc_trim(0)  # what was freed is not held
    REFERENCES.write_text("5")  # the peak so far is forgotten, proc(5)
    work(*arguments)
    kilobytes = re.search(r"VmHWM:\s*(\d+) kB", STATUS.read_text())
    return None if kilobytes is None else 1024 * int(kilobytes[1])
