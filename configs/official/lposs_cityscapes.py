_base_ = '../lposs_cityscapes.py'

protocol = 'official'
model = dict(backbone=dict(arch='ViT-B-16', pretrained='laion2b_s34b_b88k'))
test_dataloader = dict(dataset=dict(pipeline=_base_.pipelines['448']))
