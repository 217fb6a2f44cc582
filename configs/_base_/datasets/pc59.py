"""Pascal Context without background, 59 classes, 5,104 images."""

_base_ = '../common.py'

dataset = 'pc59'
images = 5104
split = 'context'
recipe = 'pascal_context'
vocabulary = dict(class_names='pc59')

test_dataloader = dict(
    dataset=dict(
        type='PascalContextDataset59',
        data_root='data/VOCdevkit/VOC2010',
        ann_file='ImageSets/SegmentationContext/val.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassContext'),
        img_suffix='.jpg',
        seg_map_suffix='.png',
    )
)
