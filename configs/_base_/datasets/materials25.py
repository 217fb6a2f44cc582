"""Materials with background, 25 classes, 200 images drawn by code; a stand-in for checking and learning.

Everything is in the papers' ratio: short side 96, window 64, stride 32 where they have 336, 224, 112.
"""

_base_ = '../common.py'

dataset = 'materials25'
images = 200
note = 'Materials is a stand-in for checking and learning, drawn images and a tiny CLIP: no number of any paper'
vocabulary = dict(
    class_names='materials25',
    prob_thd=0.1,
    window=64,
    stride=32,
    backbone=dict(arch='materials', pretrained='materials'),
)

test_dataloader = dict(
    dataset=dict(
        type='MaterialsDataset',
        count=images,
        pipeline=[
            dict(type='DrawImage'),
            dict(type='Resize', scale=(2048, 96), keep_ratio=True),
            dict(type='DrawMask'),
            dict(type='PackSegInputs', meta_keys=('img_path', 'ori_shape', 'sample_idx')),
        ],
    )
)
