"""The toy's code location, for Dagster processes of their own. TOY_FOLDER says where it plays."""

import os
from pathlib import Path

from toy_kit import Toy

toy = Toy(Path(os.environ["TOY_FOLDER"]))
defs = toy.definitions(forward_termination=os.environ.get("TOY_FORWARD", "yes") == "yes")
