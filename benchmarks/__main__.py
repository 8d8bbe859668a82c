"""``python -m benchmarks``: run all benchmarks except ``claims``, one after the other."""

import shutil

from benchmarks import coverage, field, image, speed

coverage.main()
speed.main()
field.main()
if shutil.which("docker") or shutil.which("podman"):
    image.main()
else:
    print("Skipping the benchmark of the image: neither docker nor podman is installed.")
