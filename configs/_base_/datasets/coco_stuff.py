"""COCO-Stuff 164k, 171 classes, 5,000 images."""

_base_ = '../common.py'

dataset = 'coco_stuff'
images = 5000
split = 'coco'
recipe = 'coco_stuff'
vocabulary = dict(class_names='coco_stuff')

test_dataloader = dict(
    dataset=dict(
        type='COCOStuffDataset',
        data_root='data/coco_stuff164k',
        data_prefix=dict(img_path='images/val2017', seg_map_path='annotations/val2017'),
        img_suffix='.jpg',
        seg_map_suffix='_labelTrainIds.png',
    )
)
