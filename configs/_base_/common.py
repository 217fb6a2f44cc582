"""What all benchmarks share: the common protocol's pipeline, the metric, and a quiet runner."""

custom_imports = dict(imports=['naclip_bench.datasets', 'naclip_bench.evaluation', 'naclip_bench.methods'])
default_scope = 'mmseg'

# Which protocol the numbers follow: "common" (docs/protocol.md), or "official" (what a method's authors run).
protocol = 'common'

# By short side: the common one, that of some authors, and Cityscapes'.
pipelines = {
    side: [
        dict(type='LoadImage'),
        dict(type='Resize', scale=(2048, int(side)), keep_ratio=True),
        # Behind Resize: the ground truth keeps its original size.
        dict(type='LoadMask'),
        dict(type='PackSegInputs', meta_keys=('img_path', 'ori_shape', 'sample_idx')),
    ]
    for side in ('336', '384', '448', '560', '576', '688')
}

test_dataloader = dict(
    batch_size=8,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    batch_sampler=dict(type='FixedBatches'),
    dataset=dict(
        test_mode=True,
        pipeline=pipelines['336'],
    ),
)
test_evaluator = dict(type='ConfusionMetric')
test_cfg = dict(type='TestLoop')

default_hooks = dict(
    runtime_info=None, timer=None, logger=None, param_scheduler=None, checkpoint=None, sampler_seed=None
)
env_cfg = dict(mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0), dist_cfg=dict(backend='nccl'))
log_level = 'WARNING'
