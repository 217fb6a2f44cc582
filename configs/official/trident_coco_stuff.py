_base_ = '../trident_coco_stuff.py'

protocol = 'official'
model = dict(window=336, stride=224, refiner=dict(type='PromptedSAM'), confidence=0.05)
test_dataloader = dict(dataset=dict(pipeline=_base_.pipelines['448']))
