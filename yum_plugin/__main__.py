"""``python3 -m yum_plugin`` is the command ``xcpng-mirrors``."""
import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
