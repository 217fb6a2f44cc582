_base_ = '../trident_ade20k.py'

protocol = 'official'
model = dict(window=336, stride=224, negative=False)
test_dataloader = dict(dataset=dict(pipeline=_base_.pipelines['576']))
