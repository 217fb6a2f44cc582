"""What CLIPtrase's authors run: the vote on labels at 336 pixels, and pipelines by void and size."""

released = dict(
    model=dict(window=None, vote='labels', logit_scale=100, prob_thd=0, eps=1.1, min_samples=7),
    **{
        f'void_{void}_{size}': [
            dict(type='LoadImage'),
            dict(type='LoadMask'),
            dict(type='CentralSquare', size=size),
            *steps,
            dict(type='PackSegInputs', meta_keys=('img_path', 'ori_shape', 'sample_idx', 'central_square')),
        ]
        for void, steps in (('ignored', []), ('scored', [dict(type='VoidIsBackground')]))
        for size in (224, 336)
    },
)
