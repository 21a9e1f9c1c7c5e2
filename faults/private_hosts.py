"""The service with its own hosts file: `python -m faults.private_hosts HOSTS RESOLVER serve`, as root.

HOSTS replaces /etc/hosts and RESOLVER replaces /etc/resolv.conf, in the mount namespace of this process only.
"""

import ctypes
import os
import sys

from service.cli.main import main

_CLONE_NEWNS = 0x20000
_MS_BIND = 0x1000
_MS_PRIVATE_ALL = 0x44000


def _check(result: int, call: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{call}: {os.strerror(ctypes.get_errno())}")


def _replace(hosts: str, resolver: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.unshare(_CLONE_NEWNS), "unshare")
    _check(libc.mount(b"none", b"/", None, _MS_PRIVATE_ALL, None), "mount")
    for source, target in ((hosts, b"/etc/hosts"), (resolver, b"/etc/resolv.conf")):
        _check(libc.mount(source.encode(), target, None, _MS_BIND, None), "mount")


if __name__ == "__main__":
    _replace(sys.argv.pop(1), sys.argv.pop(1))
    sys.exit(main())
