"""A process that the raylet starts in place of an agent, and that does nothing.

The raylet ends if an agent ends, so this one stays as long as the raylet does. It ends when the
raylet has ended, even if that was killed.
"""

import os
import time

if __name__ == "__main__":
    while str(os.getppid()) == os.environ["RAY_RAYLET_PID"]:
        time.sleep(1)
