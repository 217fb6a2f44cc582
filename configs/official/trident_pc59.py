_base_ = '../trident_pc59.py'

protocol = 'official'
model = dict(window=336, stride=224, refiner=dict(type='PromptedSAM'), confidence=0.15)
test_dataloader = dict(dataset=dict(pipeline=_base_.pipelines['576']))
