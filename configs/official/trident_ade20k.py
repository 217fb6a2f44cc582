_base_ = '../trident_ade20k.py'

protocol = 'official'
model = dict(window=336, stride=224, negative=False, refiner=dict(type='PromptedSAM'), confidence=0.05)
test_dataloader = dict(dataset=dict(pipeline=_base_.pipelines['576']))
