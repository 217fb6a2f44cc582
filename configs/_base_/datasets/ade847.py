"""ADE20K's full release, 847 classes, 2,000 images."""

_base_ = '../common.py'

dataset = 'ade847'
images = 2000
split = 'ade20k'
recipe = 'ade847'
vocabulary = dict(class_names='ade847')

test_dataloader = dict(
    dataset=dict(
        type='ADE847Dataset',
        data_root='data/ade/ADE20K_847',
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        img_suffix='.jpg',
        seg_map_suffix='.png',
    )
)
