"""The former name of accaware.pytorch.builtin, by which configs and scripts may know it."""

import sys

from accaware.pytorch import builtin

sys.modules[__name__] = builtin
