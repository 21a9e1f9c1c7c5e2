"""Makes the file system read-only for this process and its children by Landlock, which needs no privileges."""

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on every architecture
_SET_NO_NEW_PRIVILEGES: Final = 38
_PATH_BENEATH: Final = 1
_WRITES: Final = 0b1_1111_1111_0010
"""The rights of the first version of Landlock: to write a file; to remove and to create entries of any kind."""

_DEVICES: Final = ("/dev/null", "/dev/tty")


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _PathBeneathAttributes(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def make_read_only(*, writable: Sequence[str]) -> None:
    """Forbid writes outside of ``writable`` directories; open files stay writable.

    Raises:
        OSError: The kernel is older than 5.13 or has no Landlock.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = _RulesetAttributes(_WRITES)
    ruleset = _check(
        libc.syscall(_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(ctypes.sizeof(attributes)), 0)
    )
    for path in (*writable, *filter(os.path.exists, _DEVICES)):
        directory = os.open(path, os.O_PATH)
        allowed = _WRITES if Path(path).is_dir() else 0b10
        rule = _PathBeneathAttributes(allowed, directory)
        _check(libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0))
        os.close(directory)
    _check(libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    _check(libc.syscall(_RESTRICT_SELF, ruleset, 0))


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
