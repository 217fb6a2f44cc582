"""Pascal Context with background, 60 classes, 5,104 images."""

_base_ = '../common.py'

dataset = 'pc60'
images = 5104
split = 'context'
recipe = 'pascal_context'
vocabulary = dict(class_names='pc60', prob_thd=0.1)

test_dataloader = dict(
    dataset=dict(
        type='PascalContextDataset',
        data_root='data/VOCdevkit/VOC2010',
        ann_file='ImageSets/SegmentationContext/val.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassContext'),
        img_suffix='.jpg',
        seg_map_suffix='.png',
    )
)
