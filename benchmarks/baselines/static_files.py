"""The files of a directory, served by Starlette."""

from __future__ import annotations

import os

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

app = Starlette(routes=[Mount("/images", StaticFiles(directory=os.environ["IMAGE_DIRECTORY"]))])
