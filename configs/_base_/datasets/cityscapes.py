"""Cityscapes, 19 classes, 500 images; short side 560."""

_base_ = '../common.py'

dataset = 'cityscapes'
images = 500
split = 'cityscapes'
recipe = 'cityscapes'
vocabulary = dict(class_names='cityscapes')

test_dataloader = dict(
    dataset=dict(
        type='CityscapesDataset',
        data_root='data/cityscapes',
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
        img_suffix='_leftImg8bit.png',
        seg_map_suffix='_gtFine_labelTrainIds.png',
        pipeline=_base_.pipelines['560'],
    )
)
