_base_ = '../trident_cityscapes.py'

protocol = 'official'
model = dict(window=336, stride=224, cos_factor=3.0, negative=False)
test_dataloader = dict(dataset=dict(pipeline=_base_.pipelines['688']))
