"""What mmseg's datasets lack; importing the package registers it all."""

import io
from contextlib import redirect_stdout

# mmseg prints a debug line, twice, where a package of its makers is absent that nothing here needs.
with redirect_stdout(io.StringIO()) as _printed:
    import mmseg.datasets  # noqa: F401
for _line in _printed.getvalue().splitlines():
    if _line != 'Could not import OneDL':
        print(_line)

from . import ade847, coco_object, loading, pc459, preprocessor, sampler, square, voc20  # noqa: E402, F401
from .materials import dataset  # noqa: E402, F401
