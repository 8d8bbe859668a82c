"""``python -m benchmarks``: all of them, one after the other."""

import shutil

from benchmarks import coverage, field, image, speed

coverage.main()
speed.main()
field.main()
if shutil.which("docker") or shutil.which("podman"):
    image.main()
else:
    print("Neither docker nor podman is here, so the image is not measured.")
