"""Memory and processor time of a process and its descendants, read from another process."""

import threading

import psutil


def tree(pid: int) -> list[psutil.Process]:
    """A process and all its descendants; none if it has ended."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def memory_of(pid: int) -> int:
    """Bytes of a process and all its descendants.

    Counts proportional set size: a page shared by three processes counts a third for each.
    """
    total = 0
    for process in tree(pid):
        try:
            total += process.memory_full_info().pss
        except (psutil.Error, OSError):
            continue  # the process has ended
    return total


def _started(process: psutil.Process) -> float:
    try:
        return process.create_time()
    except psutil.Error:
        return 0.0


class ProcessWatch:
    """Peak memory and processor seconds of all processes together, while the watch is open.

    Reading memory takes some milliseconds per process, so runs that are timed are watched with
    `memory=False`. What a process uses after it is last read is missed.
    """

    def __init__(self, pid: int, every: float = 0.2, memory: bool = True) -> None:
        self._pid, self._every, self._memory = pid, every, memory
        self.peak, self._cpu = 0, dict[tuple[int, float], float]()

    @property
    def cpu_seconds(self) -> float:
        """User and system time of every process seen."""
        return sum(self._cpu.values())

    def __enter__(self) -> "ProcessWatch":
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def end_all(self) -> None:
        """End the process, its descendants, and whatever was seen of them that is still alive."""
        for process in tree(self._pid):
            self._cpu.setdefault((process.pid, _started(process)), 0.0)
        for pid, started in list(self._cpu):
            try:
                process = psutil.Process(pid)
                if process.create_time() == started:
                    process.kill()
            except psutil.Error:
                continue  # the process has ended

    def _watch(self) -> None:
        while not self._stop.wait(self._every):
            for process in tree(self._pid):
                try:
                    times = process.cpu_times()
                    self._cpu[process.pid, process.create_time()] = times.user + times.system
                except (psutil.Error, OSError):
                    continue
            if self._memory:
                self.peak = max(self.peak, memory_of(self._pid))
