_base_ = '../trident_cityscapes.py'

protocol = 'official'
model = dict(
    window=336,
    stride=224,
    cos_factor=3.0,
    negative=False,
    sam=dict(halves=True),
    refiner=dict(type='PromptedSAM'),
    confidence=0.1,
)
test_dataloader = dict(dataset=dict(pipeline=_base_.pipelines['688']))
