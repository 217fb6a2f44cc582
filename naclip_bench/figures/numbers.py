"""What a chart shows of a table's numbers."""

from __future__ import annotations

from ..tables.report import MARKS, MEAN, Block, Line, Number, images


def shown(number: Number | None) -> float | None:
    """Our value, or the paper's where there is none of ours."""
    if number is None:
        return None
    return number.paper if number.ours is None else number.ours


def datasets_of(block: Block) -> list[str]:
    """The datasets of a block of which there is a value, without their mean."""
    return [
        name
        for name in block.datasets
        if name != MEAN and any(shown(line.numbers.get(name)) is not None for line in block.lines)
    ]


def lines_of(block: Block) -> list[Line]:
    """The rows of a block of which there is a value."""
    return [line for line in block.lines if any(shown(number) is not None for number in line.numbers.values())]


def title_of(block: Block) -> str:
    """What a chart is called: the table, the weights, the images, and what its marks say."""
    numbers = [number for number in block.numbers() if number.result is not None]
    if not numbers:
        return f"{block.spec.key}: {block.spec.title}\nthe paper's own values"
    records = [number.result.record for number in numbers]
    weights = dict.fromkeys(
        ', '.join(dict.fromkeys(map(str, (record['settings']['arch'], record['settings']['weights']))))
        for record in records
    )
    counts = dict.fromkeys(f'{number.cell.dataset} {images(number)}' for number in numbers)
    meanings = [MARKS[mark] for mark in MARKS if mark not in 'WS' and any(mark in number.marks for number in numbers)]
    own = block.spec.key.startswith('own/')
    name = block.spec.title[0].upper() + block.spec.title[1:] if own else f'{block.spec.key}: {block.spec.title}'
    about = ['weights: ' + ' and '.join(list(weights)[:3]), 'images: ' + '; '.join(counts), *meanings]
    return f'{name}\n' + '; '.join(about)


def is_random(block: Block) -> bool:
    return any('W' in number.marks for number in block.numbers())


def axis_of(block: Block) -> str:
    """The name and unit of what is measured."""
    return f'{block.metric} (%)' if block.metric != 'patches' else 'patches'
