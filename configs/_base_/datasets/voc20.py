"""Pascal VOC 2012 without background, 20 classes, 1,449 images."""

_base_ = '../common.py'

dataset = 'voc20'
images = 1449
split = 'voc'
recipe = 'voc'
vocabulary = dict(class_names='voc20')

test_dataloader = dict(
    dataset=dict(
        type='PascalVOC20Dataset',
        data_root='data/VOCdevkit/VOC2012',
        ann_file='ImageSets/Segmentation/val.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        img_suffix='.jpg',
        seg_map_suffix='.png',
    )
)
