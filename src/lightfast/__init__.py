"""Lightfast stores the images that an application generates and serves them fast and coherently."""

from lightfast.app import Lightfast
from lightfast.errors import (
    BrokenRecord,
    Forbidden,
    InvalidImage,
    InvalidRequest,
    LightfastError,
    Missing,
    Overloaded,
    PreconditionFailed,
    RenderTimeout,
    SettingsError,
    StoreFull,
    StoreUnavailable,
    TooLarge,
    UnsupportedMediaType,
)
from lightfast.imaging.placeholder import placeholder
from lightfast.model import Image, Info, Listing, Meta, Precondition, Preview, Sighting

__version__ = "0.1.0"

__all__ = [
    "BrokenRecord",
    "Forbidden",
    "Image",
    "Info",
    "InvalidImage",
    "InvalidRequest",
    "Lightfast",
    "LightfastError",
    "Listing",
    "Meta",
    "Missing",
    "Overloaded",
    "Precondition",
    "PreconditionFailed",
    "Preview",
    "RenderTimeout",
    "SettingsError",
    "Sighting",
    "StoreFull",
    "StoreUnavailable",
    "TooLarge",
    "UnsupportedMediaType",
    "__version__",
    "placeholder",
]
