"""Lists of images as people have them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mmseg.datasets import BaseSegDataset

from ..errors import BenchError

#: What a second column of VOC's ``Main`` lists says: the class is shown.
SHOWN = '1'


def read_names(path: Path, what: str = 'list of images') -> list[str]:
    """The lines of a list of images that are neither empty nor begin with "#".

    Args:
        what: the list is called in messages.

    Raises:
        BenchError: it cannot be read.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding='utf-8-sig').splitlines()]
    except OSError as error:
        raise BenchError(f'cannot read the {what} {path}: {error.strerror}') from None
    except UnicodeDecodeError:
        raise BenchError(f'the {what} {path} is no text; write one image name a line') from None
    return [line for line in lines if line and not line.startswith('#')]


def meanings(line: str, suffix: str, mask_suffix: str | None = None) -> Iterator[str]:
    """The image that a line may name, the likeliest first: the line itself, without suffix, its first column.

    Args:
        suffix: of the images.
        mask_suffix: of the masks: a second column must be the mask of the image in the first, or VOC's "1". None: any
            mask is of no account.
    """
    texts, columns = [line], line.replace(',', ' ').split()
    if len(columns) == 2:
        first, second = columns
        mask = f'{Path(first.removesuffix(suffix)).name}{mask_suffix or ""}'
        if second == SHOWN or (Path(second).name == mask if mask_suffix else '.' in second):
            texts.append(first)
    for text in texts:
        yield text
        yield text.removesuffix(suffix)


def load_data_list(self: BaseSegDataset) -> list[dict]:
    """What mmseg's method of this name does, but for a list in one of several forms.

    Blank lines, a byte-order mark, suffixes, a column with the masks, VOC's ``name  1``, and paths that lead into the
    folder of the images are understood.

    Raises:
        BenchError: a line has another form; says which is wanted.
    """
    if self.backend_args or not Path(self.ann_file).is_file():
        return _load_data_list(self)
    images, masks = self.data_prefix['img_path'], self.data_prefix.get('seg_map_path')
    about = dict(label_map=self.label_map, reduce_zero_label=self.reduce_zero_label)
    infos = []
    for line in read_names(Path(self.ann_file)):
        name = _image_of(line, self, Path(images))
        infos.append(dict(img_path=str(Path(images, f'{name}{self.img_suffix}')), seg_fields=[], **about))
        if masks is not None:
            infos[-1]['seg_map_path'] = str(Path(masks, f'{name}{self.seg_map_suffix}'))
    return infos


def _image_of(line: str, dataset: BaseSegDataset, folder: Path) -> str:
    """The name below ``folder`` that a line means; the line itself where there is no such image."""
    suffix = dataset.img_suffix
    if not line.startswith('/') and (folder / f'{line}{suffix}').is_file():
        return line
    texts = list(meanings(line, suffix, dataset.seg_map_suffix))
    for text in texts:
        # A leading "/" may be the file system's or the dataset's own.
        paths = [Path(text)] if text.startswith('/') else [folder / text]
        paths.append(Path(dataset.data_root or '.', text.lstrip('/')))
        for path in paths:
            if path.is_relative_to(folder) and path.with_name(f'{path.name}{suffix}').is_file():
                return path.relative_to(folder).as_posix()
    wanted = f'wanted: one name a line, as in {folder}/NAME{suffix}'
    if line.startswith('/'):
        raise BenchError(f'data: {dataset.ann_file} lists paths ("{line}"); {wanted}')
    columns = line.replace(',', ' ').split()
    if len(columns) > 1 and texts[-1] == line.removesuffix(suffix):
        raise BenchError(f'data: {dataset.ann_file} has {len(columns)} columns ("{line}"); {wanted}')
    if (folder / line).is_file():
        raise BenchError(f'data: {dataset.ann_file} lists "{line}", but img_suffix is "{suffix}"; {wanted}')
    return texts[-1]


# One method for all of mmseg's datasets and those that users derive from them; what they add to it stays.
_load_data_list = BaseSegDataset.load_data_list
BaseSegDataset.load_data_list = load_data_list
