"""What the model's process gives up before it imports the package: the inside of its fence.

Limits of memory, files and cores, and a seccomp filter: no sockets, no processes, no signals to
others, no writing or moving of files, no tracing. A fence narrows what foreign code can do; it does
not make it trusted, which is why format python is opt-in (docs/adr). Linux only, x86_64 and
aarch64; elsewhere the limits alone hold, and the server's log says so.

Source of the filter's form: seccomp(2) and linux/filter.h.
"""

import ctypes
import errno
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Sequence

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _PR_SET_DUMPABLE = 22, 38, 4
_MODE_FILTER = 2
_LOAD, _AND, _EQUALS, _ABOVE, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_DENY, _ABSENT = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
_NUMBER, _ARCHITECTURE = 0, 4
_X32 = 0x40000000
"""Numbers from here on are another calling convention of x86_64."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_CLONE_THREAD = 0x10000

_FORBIDDEN: dict[str, tuple[int, ...]] = {
    # socket connect accept bind listen socketpair accept4; fork vfork execve execveat; truncate
    # ftruncate rename mkdir rmdir creat link unlink symlink chmod fchmod chown fchown lchown mknod
    # and their *at; ptrace process_vm_*; mounts; modules; tkill rt_*sigqueueinfo pidfd_*; shmget
    # semget msgget; keys; unshare setns perf_event_open bpf userfaultfd io_uring_setup; xattrs.
    "x86_64": (
        41, 42, 43, 49, 50, 53, 288, 57, 58, 59, 322, 76, 77, 82, 83, 84, 85, 86, 87, 88, 90, 91,
        92, 93, 94, 133, 258, 259, 260, 263, 264, 265, 266, 268, 316, 101, 310, 311, 155, 161, 165,
        166, 175, 313, 129, 297, 200, 424, 434, 438, 29, 64, 68, 248, 249, 250, 272, 308, 298, 321,
        323, 425, 188, 189, 190,
    ),
    "aarch64": (
        198, 203, 202, 200, 201, 199, 242, 221, 281, 45, 46, 33, 34, 35, 36, 37, 38, 52, 53, 54, 55,
        276, 117, 270, 271, 39, 40, 41, 51, 105, 273, 130, 138, 240, 424, 434, 438, 194, 190, 186,
        217, 218, 219, 97, 268, 241, 280, 282, 425, 5, 6, 7,
    ),
}  # fmt: skip
_ABSENT_CALLS = (435, 437)
"""clone3 and openat2, whose arguments a filter cannot see: callers fall back to the older ones."""
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# Calls of which some arguments are allowed.
_OPEN = {"x86_64": ((2, 1), (257, 2)), "aarch64": ((56, 2),)}
"""(number, argument with the flags) of open and openat."""
_CLONE = {"x86_64": 56, "aarch64": 220}
_OWN_PROCESS = {"x86_64": (62, 234), "aarch64": (129, 131)}
"""kill and tgkill: abort() sends itself a signal."""
_LIMITS_OF = {"x86_64": 302, "aarch64": 261}
"""prlimit64, by which glibc sets one's own limits: process 0."""

Instruction = tuple[int, int, int, int]


class FenceFailed(OSError):
    """The kernel did not take a limit or the filter."""


def limit_resources(*, memory_bytes: int, open_files: int) -> None:
    """Sets limits that cannot be raised again: address space, files, cores, written bytes.

    Raises:
        FenceFailed: a limit cannot be set.
    """
    limits = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_NOFILE: open_files,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
    }
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit is an error instead
    try:
        for kind, value in limits.items():
            resource.setrlimit(kind, (value, value))
    except (OSError, ValueError) as error:
        raise FenceFailed(f"limits cannot be set: {error}") from error


def forbid_processes() -> None:
    """No more processes and no more threads: where calls are not filtered. Root is exempt."""
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def limit_time(seconds: int) -> None:
    """The process dies when its next `seconds` of processor time, or twice that of any, are over.

    The server ends it before; this is for a process whose server is gone.
    """
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = int(usage.ru_utime + usage.ru_stime)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (used + seconds + 2, hard))
    signal.setitimer(signal.ITIMER_REAL, 2.0 * seconds)


def rest() -> None:
    """Nothing is being computed: the timer stops."""
    signal.setitimer(signal.ITIMER_REAL, 0)


def filter_calls() -> bool:
    """Installs the filter for all that follows; False where there is none for this machine.

    Raises:
        FenceFailed: the kernel refuses it.
    """
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _FORBIDDEN:
        return False
    code = b"".join(struct.pack("=HBBI", *line) for line in _program(machine, os.getpid()))
    data = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: an unsigned short and, aligned, a pointer.
    program = struct.pack("@HP", len(code) // 8, ctypes.addressof(data))
    libc = ctypes.CDLL(None, use_errno=True)
    failed = libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    failed = failed or libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, program, 0, 0)
    if failed:
        raise FenceFailed(f"seccomp: {os.strerror(ctypes.get_errno())}")
    return True


def hide_memory() -> None:
    """Makes this process' memory and environment unreadable to others of its user (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _program(machine: str, process: int) -> list[Instruction]:
    """The filter, as classic BPF over struct seccomp_data."""
    lines: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUALS, 1, 0, _AUDIT[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":
        lines += [(_ABOVE, 0, 1, _X32), (_RETURN, 0, 0, _ABSENT)]
    for number in _FORBIDDEN[machine]:
        lines += [(_EQUALS, 0, 1, number), (_RETURN, 0, 0, _DENY)]
    for number in _ABSENT_CALLS:
        lines += [(_EQUALS, 0, 1, number), (_RETURN, 0, 0, _ABSENT)]
    for number, argument in _OPEN[machine]:
        lines += _unless(number, argument, _WRITING, 0)
    lines += _unless(_CLONE[machine], 0, _CLONE_THREAD, _CLONE_THREAD)
    for number in _OWN_PROCESS[machine]:
        lines += _unless(number, 0, 0xFFFFFFFF, process)
    lines += _unless(_LIMITS_OF[machine], 0, 0xFFFFFFFF, 0)
    return [*lines, (_RETURN, 0, 0, _ALLOW)]


def _unless(number: int, argument: int, mask: int, value: int) -> Sequence[Instruction]:
    """Forbids a call unless the low half of an argument, masked, has a value."""
    return (
        (_EQUALS, 0, 5, number),
        (_LOAD, 0, 0, 16 + 8 * argument),
        (_AND, 0, 0, mask),
        (_EQUALS, 1, 0, value),
        (_RETURN, 0, 0, _DENY),
        (_RETURN, 0, 0, _ALLOW),
    )
