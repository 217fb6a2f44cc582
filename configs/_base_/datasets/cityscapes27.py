"""Cityscapes, all 27 classes, 500 images; short side 560: unsupervised segmentation."""

_base_ = '../common.py'

dataset = 'cityscapes27'
images = 500
split = 'cityscapes'
recipe = 'cityscapes27'
vocabulary = dict(class_names='cityscapes27')

test_dataloader = dict(
    dataset=dict(
        type='Cityscapes27Dataset',
        data_root='data/cityscapes',
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
        img_suffix='_leftImg8bit.png',
        seg_map_suffix='_gtFine_classes27.png',
        pipeline=_base_.pipelines['560'],
    )
)
