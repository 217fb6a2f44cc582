"""COCO-Object, 80 things and a background, 5,000 images."""

_base_ = '../common.py'

dataset = 'coco_object'
images = 5000
split = 'coco'
recipe = 'coco_object'
vocabulary = dict(class_names='coco_object', prob_thd=0.1)

test_dataloader = dict(
    dataset=dict(
        type='COCOObjectDataset',
        data_root='data/coco_object',
        data_prefix=dict(img_path='images/val2017', seg_map_path='annotations/val2017'),
        img_suffix='.jpg',
        seg_map_suffix='_instanceTrainIds.png',
    )
)
