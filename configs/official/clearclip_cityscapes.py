_base_ = '../clearclip_cityscapes.py'

protocol = 'official'
model = dict(logit_scale=50, window=224, stride=224)
test_dataloader = dict(dataset=dict(pipeline=_base_.pipelines['448']))
