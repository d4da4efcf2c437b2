"""Lightfast stores the images that an application generates and serves them fast and coherently."""

from lightfast.app import Lightfast
from lightfast.errors import (
    BrokenRecord,
    InvalidImage,
    InvalidRequest,
    LightfastError,
    Missing,
    Overloaded,
    PreconditionFailed,
    SettingsError,
    StoreFull,
    StoreUnavailable,
    TooLarge,
    UnsupportedMediaType,
)
from lightfast.model import Image, Info, Listing, Meta, Precondition, Sighting

__version__ = "0.1.0"

__all__ = [
    "BrokenRecord",
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
    "SettingsError",
    "Sighting",
    "StoreFull",
    "StoreUnavailable",
    "TooLarge",
    "UnsupportedMediaType",
    "__version__",
]
