"""What the raylet starts in the place of an agent: it must live as long as the raylet does.

The raylet ends with an agent that ends, and an agent must not outlive a raylet that was killed.
"""

import os
import time

if __name__ == "__main__":
    while str(os.getppid()) == os.environ["RAY_RAYLET_PID"]:
        time.sleep(1)
