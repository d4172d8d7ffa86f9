"""The tests. They run side by side, so that a second thread of torch would only be in the way."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
