_base_ = '../sclip_coco_stuff.py'

protocol = 'official'
test_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadPicture'),
            dict(type='Resize', scale=(2048, 448), keep_ratio=True),
            dict(type='LoadMask'),
            dict(type='PackSegInputs', meta_keys=('img_path', 'ori_shape', 'sample_idx')),
        ],
    )
)
