"""ADE20K, 150 classes, 2,000 images."""

_base_ = '../common.py'

dataset = 'ade20k'
images = 2000
split = 'ade20k'
recipe = 'ade20k'
vocabulary = dict(class_names='ade20k')

test_dataloader = dict(
    dataset=dict(
        type='ADE20KDataset',
        data_root='data/ade/ADEChallengeData2016',
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        img_suffix='.jpg',
        seg_map_suffix='.png',
    )
)
