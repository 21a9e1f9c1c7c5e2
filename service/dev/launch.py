"""Becomes a server that ends with the process that started it, and that is never root where asked.

Run as `python launch.py SIGNAL PARENT USER PROGRAM [ARGUMENT ...]`: SIGNAL (a number) is what the kernel
sends the server when the process PARENT ends, USER the account to run as, or empty for the present one.
The server takes this process's place, so nothing stays in between that could end alone.
"""

import ctypes
import os
import pwd
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_SECUREBITS = 28
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilitySet(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def _check(result: int, call: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{call}: {os.strerror(ctypes.get_errno())}")


def _become(libc: ctypes.CDLL, user: str) -> None:
    """Become `user`, keeping only the right to pass root's closed directories (a checkout below /root)."""
    account = pwd.getpwnam(user)
    # Else both setuid() and each later access() would take the right away again.
    _check(libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0), "prctl(PR_SET_SECUREBITS)")
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    bit = 1 << _CAP_DAC_OVERRIDE
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    # The kernel takes two sets: capabilities 0 to 31, and those above.
    sets = (_CapabilitySet * 2)(_CapabilitySet(bit, bit, bit), _CapabilitySet(0, 0, 0))
    _check(libc.capset(ctypes.byref(header), sets), "capset")
    _check(
        libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0), "prctl(PR_CAP_AMBIENT)"
    )


def main(arguments: list[str]) -> None:
    """Tie this process to its parent, drop root, and turn into the program.

    Args:
        arguments: SIGNAL, PARENT, USER and the program with its own arguments.

    Raises:
        OSError: The kernel refuses one of the steps.
        KeyError: There is no account of that name.
    """
    death_signal, parent, user, *command = arguments
    libc = ctypes.CDLL(None, use_errno=True)
    if user:
        _become(libc, user)
    # After the change of user, which would undo it.
    _check(libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != int(parent):  # it ended before the kernel was told
        sys.exit("The process that started this server has ended.")
    os.execv(command[0], command)  # noqa: S606 -- no shell: the arguments reach the program as they are


if __name__ == "__main__":
    main(sys.argv[1:])
