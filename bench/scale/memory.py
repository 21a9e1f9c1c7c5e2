"""The peak of the resident memory of a process."""

import re
from pathlib import Path


def reset_peak(pid: int) -> None:
    """Let the peak begin at the present memory."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_memory(pid: int) -> int:
    """Return the peak in bytes since the start of the process or `reset_peak`; 0 after its exit."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
