"""Pascal Context with all its labels, 459 classes, 5,104 images."""

_base_ = '../common.py'

dataset = 'pc459'
images = 5104
split = 'context'
recipe = 'pc459'
vocabulary = dict(class_names='pc459')

test_dataloader = dict(
    dataset=dict(
        type='PascalContext459Dataset',
        data_root='data/VOCdevkit/VOC2010',
        ann_file='ImageSets/SegmentationContext/val.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassContext459'),
        img_suffix='.jpg',
        seg_map_suffix='.png',
    )
)
