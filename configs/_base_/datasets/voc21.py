"""Pascal VOC 2012 with background, 21 classes, 1,449 images."""

_base_ = '../common.py'

dataset = 'voc21'
images = 1449
split = 'voc'
recipe = 'voc'
vocabulary = dict(class_names='voc21', prob_thd=0.1)

test_dataloader = dict(
    dataset=dict(
        type='PascalVOCDataset',
        data_root='data/VOCdevkit/VOC2012',
        ann_file='ImageSets/Segmentation/val.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        img_suffix='.jpg',
        seg_map_suffix='.png',
    )
)
