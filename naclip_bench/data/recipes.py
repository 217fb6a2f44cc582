"""What each dataset is made of: official archives, the files needed of them, and how they become the layout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path

from ..errors import BenchError, did_you_mean
from ..files import link_or_copy
from .unpacking import counted, is_there

#: Makes a dataset's layout under a data root (second) of the files its sources left in a folder (first).
LayOut = Callable[[Path, Path], None]


@dataclass(frozen=True, eq=False)
class Source:
    """An official archive.

    Attributes:
        archive: its official file name.
        folder: the official folder of what is needed in it; has the same place where the archive is unpacked.
        files: globs below the folder, and the least number of files of each; ``**`` is any folders, ``|`` stands
            between alternatives.
        url: where it is downloaded from; empty where that needs a login or a form.
        size, taken: bytes of the archive, and of the files needed of it, about; 0 where nobody knows.
        needs: modules of the extra ``data`` that read it.
        md5: where it is known for sure.
        page: where a person gets it.
        listed: a file below the folder that names the images needed, one a line; empty for all.
        images: the same by a function, where the archive has no such list.
        shared: benchmarks that have these very files, which are taken from there where one is complete.
    """

    archive: str
    folder: str
    files: Mapping[str, int]
    url: str = ''
    size: int = 0
    taken: int = 0
    needs: tuple[str, ...] = ()
    md5: str = ''
    page: str = ''
    listed: str = ''
    images: Callable[[], Iterable[str]] | None = None
    shared: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """How a dataset is prepared.

    Attributes:
        key, title: as the command line and people call it.
        benchmarks: those that read it: names of ``configs/_base_/datasets``.
        sources: all of them are needed.
        lay_out: called again after an interruption, it leaves what is done.
        converted: what becomes of the masks, in words; empty where they are used as they are.
        family: recipes of one family share archives and images; one of them is prepared at a time.
        seg_map_suffix: of a variant's masks, where they are not the benchmark's own.
    """

    key: str
    title: str
    benchmarks: tuple[str, ...]
    sources: tuple[Source, ...]
    lay_out: LayOut
    family: str
    converted: str = ''
    seg_map_suffix: str = ''


def as_it_is(below: str, source: Path, data_root: Path) -> None:
    """The layout of a dataset that needs no conversion: all files of ``source`` in the folder ``below``."""
    replaced = []
    for path in sorted(path for path in source.rglob('*') if path.is_file()):
        target = data_root / below / path.relative_to(source)
        if not is_there(target, path.stat().st_size):
            replaced += [target] if target.is_file() else []
            link_or_copy(path, target)
    if replaced:
        print(f'replaced {counted(replaced)} of another size than in the archive, the first {replaced[0]}')


def converter(module: str, **options: object) -> LayOut:
    """The function ``convert_<module>``, imported when it is called: a conversion may need libraries of its own."""
    module, _, part = module.partition('.')

    def lay_out(source: Path, data_root: Path) -> None:
        functions = import_module(f'{__package__}.{module}')
        getattr(functions, f'convert_{part or module}')(source, data_root, **options)

    return lay_out


# The official URLs and sizes; a checksum only where it is known for sure: those of VOC are torchvision's.
VOC2012 = Source(
    'VOCtrainval_11-May-2012.tar',
    'VOCdevkit/VOC2012',
    {'JPEGImages/*.jpg': 1449, 'SegmentationClass/*.png': 1449, 'ImageSets/Segmentation/val.txt': 1},
    url='https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar',
    size=2_000_000_000,
    taken=170_000_000,
    md5='6cd6e144f989b92b3379bac3b3de84fd',
    listed='ImageSets/Segmentation/val.txt',
)
VOC2010 = Source(
    'VOCtrainval_03-May-2010.tar',
    'VOCdevkit/VOC2010',
    {'JPEGImages/*.jpg': 5104},
    url='https://thor.robots.ox.ac.uk/pascal/VOC/voc2010/VOCtrainval_03-May-2010.tar',
    size=1_350_000_000,
    taken=550_000_000,
    md5='da459979d0c395079b5c75ee67908abb',
    images=lambda: import_module(f'{__package__}.sources').context_names(),
    shared=('pc60', 'pc459'),
)
CONTEXT_PAGE = 'https://cs.stanford.edu/~roozbeh/pascal-context'
CONTEXT_MATRICES = Source(
    'trainval.tar.gz',
    '',
    {'trainval/*.mat': 5104},
    url=f'{CONTEXT_PAGE}/trainval.tar.gz',
    size=31_000_000,
    taken=35_000_000,
    needs=('scipy.io',),
    page=CONTEXT_PAGE,
)
CONTEXT_MERGED = Source(
    'trainval_merged.json',
    '',
    {'trainval_merged.json|trainval/*.mat': 1},
    url='https://codalabuser.blob.core.windows.net/public/trainval_merged.json',
    needs=('ijson', 'pycocotools.mask'),
    page='https://github.com/zhanghang1989/detail-api',
)
COCO = (
    Source(
        'val2017.zip',
        '',
        {'val2017/*.jpg': 5000},
        url='http://images.cocodataset.org/zips/val2017.zip',
        size=816_000_000,
        taken=817_000_000,
        shared=('coco_stuff', 'coco_object'),
    ),
    Source(
        'stuffthingmaps_trainval2017.zip',
        '',
        # Not the train ids that a folder converted before has beside them.
        {'val2017/*[0-9].png': 5000},
        url='http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/stuffthingmaps_trainval2017.zip',
        size=690_000_000,
        taken=28_000_000,
        page='https://github.com/nightrome/cocostuff',
    ),
)
CITYSCAPES_PAGE = 'https://www.cityscapes-dataset.com/downloads (needs a login)'
CITYSCAPES = (
    Source(
        'leftImg8bit_trainvaltest.zip',
        '',
        {'leftImg8bit/val/*/*_leftImg8bit.png': 500},
        size=11_600_000_000,
        taken=1_200_000_000,
        page=CITYSCAPES_PAGE,
        shared=('cityscapes', 'cityscapes27'),
    ),
    Source(
        'gtFine_trainvaltest.zip',
        '',
        {'gtFine/val/*/*_gtFine_labelIds.png|gtFine/val/*/*_gtFine_polygons.json': 500},
        size=253_000_000,
        taken=40_000_000,
        page=CITYSCAPES_PAGE,
    ),
)
#: COCO-Stuff's masks as they are in the archive, or converted.
COCO27 = (
    COCO[0],
    replace(COCO[1], files={'val2017/*[0-9].png|val2017/*_labelTrainIds.png': 5000}, shared=('coco_stuff',)),
)
ADE20K = Source(
    'ADEChallengeData2016.zip',
    'ADEChallengeData2016',
    {'images/validation/*.jpg': 2000, 'annotations/validation/*.png': 2000},
    url='http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip',
    size=967_000_000,
    taken=100_000_000,
    page='http://sceneparsing.csail.mit.edu',
)
ADE20K_FULL = Source(
    'ADE20K_2021_17_01.zip',
    'ADE20K_2021_17_01',
    {
        'images/**/ADE_val_*.jpg': 2000,
        'images/**/ADE_val_*_seg.png': 2000,
        'index_ade20k.pkl|index_ade20k.mat': 1,
    },
    page='https://ade20k.csail.mit.edu (needs a registration)',
)

_OBJECT = Recipe(
    'coco_object',
    'COCO-Object',
    ('coco_object',),
    COCO,
    converter('coco.coco_object', unlabeled='background'),
    'coco',
    'from COCO-Stuff to things and a background',
)
_STUFF = Recipe(
    'coco_stuff',
    'COCO-Stuff 164k',
    ('coco_stuff',),
    COCO,
    converter('coco.coco_stuff'),
    'coco',
    'from category ids to 171 train ids',
)


def _both(source: Path, data_root: Path) -> None:
    for recipe in (_STUFF, _OBJECT):
        recipe.lay_out(source, data_root)


RECIPES = {
    recipe.key: recipe
    for recipe in (
        Recipe('voc', 'Pascal VOC 2012', ('voc21', 'voc20'), (VOC2012,), partial(as_it_is, ''), 'voc'),
        Recipe(
            'pascal_context',
            'Pascal Context',
            ('pc60', 'pc59'),
            (VOC2010, CONTEXT_MERGED),
            converter('pascal_context'),
            'voc2010',
            'from 459 categories to 59',
        ),
        Recipe(
            'coco',
            'COCO-Stuff and COCO-Object',
            ('coco_stuff', 'coco_object'),
            COCO,
            _both,
            'coco',
            'from category ids to 171 train ids, and to things and a background',
        ),
        _STUFF,
        _OBJECT,
        Recipe(
            'coco27',
            'COCO of 27 classes',
            ('coco27',),
            COCO27,
            converter('coco27'),
            'coco',
            "from COCO-Stuff's classes to 27 kinds",
        ),
        Recipe(
            'cityscapes',
            'Cityscapes',
            ('cityscapes',),
            CITYSCAPES,
            converter('cityscapes'),
            'cityscapes',
            'from label ids, or polygons, to 19 train ids',
        ),
        Recipe(
            'cityscapes27',
            'Cityscapes, 27 classes',
            ('cityscapes27',),
            CITYSCAPES,
            converter('cityscapes.cityscapes27'),
            'cityscapes',
            'from label ids, or polygons, to 27 classes',
        ),
        Recipe('ade20k', 'ADE20K', ('ade20k',), (ADE20K,), partial(as_it_is, 'ade'), 'ade20k'),
        Recipe(
            'pc459',
            'Pascal Context, 459',
            ('pc459',),
            (VOC2010, CONTEXT_MATRICES),
            converter('pc459'),
            'voc2010',
            'from .mat files to 459 labels of 16 bits',
        ),
        Recipe(
            'ade847',
            'ADE20K, full release',
            ('ade847',),
            (ADE20K_FULL,),
            converter('ade847'),
            'ade847',
            "from the release's objects to 847 labels of 16 bits",
        ),
    )
}


def find_recipe(name: str, unlabeled_ignored: bool = False) -> Recipe:
    """The recipe of a dataset, or of a benchmark that reads it: ``voc``, ``voc21``.

    Args:
        unlabeled_ignored: COCO-Object with unlabeled pixels not scored, in place of background.

    Raises:
        BenchError: there is none of this name; says what comes close. Or it has no such variant.
    """
    recipe = RECIPES.get(name) or next((known for known in RECIPES.values() if name in known.benchmarks), None)
    if recipe is None:
        raise BenchError(f'there is no dataset {name}{did_you_mean(name, RECIPES)}')
    if not unlabeled_ignored:
        return recipe
    if recipe is not _OBJECT:
        raise BenchError(f'unlabeled pixels ignored is a variant of coco_object, not of {name}')
    suffixes = import_module(f'{__package__}.coco').OBJECT_SUFFIXES
    return replace(
        recipe,
        title='COCO-Object, unlabeled ignored',
        lay_out=converter('coco.coco_object', unlabeled='ignored'),
        seg_map_suffix=suffixes['ignored'],
    )
