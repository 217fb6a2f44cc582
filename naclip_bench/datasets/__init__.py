"""What mmseg's datasets lack; importing the package registers it all."""

import io
from contextlib import redirect_stdout

# mmseg prints a debug line, twice, where a package of its makers is absent that nothing here needs.
with redirect_stdout(io.StringIO()) as _printed:
    import mmseg.datasets  # noqa: F401
for _line in _printed.getvalue().splitlines():
    if _line != 'Could not import OneDL':
        print(_line)

from . import (  # noqa: E402
    ade847,  # noqa: F401
    cityscapes27,  # noqa: F401
    coco27,  # noqa: F401
    coco_object,  # noqa: F401
    folder,  # noqa: F401
    lists,  # noqa: F401
    loading,  # noqa: F401
    mask_beside_image,  # noqa: F401
    pc459,  # noqa: F401
    preprocessor,  # noqa: F401
    sampler,  # noqa: F401
    square,  # noqa: F401
    voc20,  # noqa: F401
)
from .materials import dataset  # noqa: E402, F401
