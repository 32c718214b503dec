"""ARNet: few-shot segmentation you can deploy."""

from pathlib import Path as _Path

from arnet.version import __version__

__all__ = ["__version__"]

# In an installed wheel export/, runtime/ and kernels/ lie inside this package. In a checkout they
# stand beside it at the top of the repository, so the package also looks there.
_here = _Path(__file__).parent
if not (_here / "runtime").is_dir():
    __path__.append(str(_here.parent))
