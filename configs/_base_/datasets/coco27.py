"""COCO of 27 kinds of things and stuff, 2,175 images: unsupervised segmentation."""

_base_ = '../common.py'

dataset = 'coco27'
images = 2175
recipe = 'coco27'
vocabulary = dict(class_names='coco27')

test_dataloader = dict(
    dataset=dict(
        type='COCO27Dataset',
        data_root='data/coco27',
        data_prefix=dict(img_path='images/val2017', seg_map_path='annotations/val2017'),
        img_suffix='.jpg',
        seg_map_suffix='.png',
    )
)
