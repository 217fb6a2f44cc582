"""What MaskCLIP's authors run: whole images, ImageNet's colors, their 85 prompts; pipelines by short side."""

released = dict(
    model=dict(
        form='released',
        window=None,
        logit_scale=100,
        prob_thd=0,
        templates='openai_85',
        backbone=dict(colors='imagenet'),
    ),
    **{
        f'pipeline_{side}': [
            dict(type='LoadImage'),
            dict(type='Resize', scale=(2048, side), keep_ratio=True),
            dict(type='LoadMask'),
            dict(type='PackSegInputs', meta_keys=('img_path', 'ori_shape', 'sample_idx')),
        ]
        for side in (512, 520)
    },
)
