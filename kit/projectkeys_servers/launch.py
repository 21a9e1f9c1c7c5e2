"""Executes a server that ends with its parent process, as another user if requested.

Run as `python launch.py SIGNAL PARENT USER PROGRAM [ARGUMENT ...]`. SIGNAL is the number of the signal that the
kernel sends to the server when the process PARENT ends. USER is the account to run as; empty: the current account.
The server replaces this process by exec, so that there is no intermediate process that can end without the server.
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
    """Switch to `user`; keep only the capability to enter private directories of root, such as /root."""
    account = pwd.getpwnam(user)
    # Without this bit, setuid() and each later access() drop the capability.
    _check(libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0), "prctl(PR_SET_SECUREBITS)")
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    bit = 1 << _CAP_DAC_OVERRIDE
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    # The kernel expects two sets: capabilities 0 to 31, and the others.
    sets = (_CapabilitySet * 2)(_CapabilitySet(bit, bit, bit), _CapabilitySet(0, 0, 0))
    _check(libc.capset(ctypes.byref(header), sets), "capset")
    _check(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0), "prctl(PR_CAP_AMBIENT)")


def main(arguments: list[str]) -> None:
    """Request the signal at the end of the parent, switch the user, and execute the program.

    Args:
        arguments: SIGNAL, PARENT, USER, and the program with its arguments.

    Raises:
        OSError: A system call failed.
        KeyError: The account USER does not exist.
    """
    death_signal, parent, user, *command = arguments
    libc = ctypes.CDLL(None, use_errno=True)
    if user:
        _become(libc, user)
    # Must follow the change of the user, which resets it.
    _check(libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != int(parent):  # the parent ended before the call of prctl()
        sys.exit("The process that started this server has ended.")
    os.execv(command[0], command)  # noqa: S606 -- no shell: the arguments are passed unchanged


if __name__ == "__main__":
    main(sys.argv[1:])
