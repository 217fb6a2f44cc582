_base_ = '../corrclip_cityscapes.py'

protocol = 'official'
model = dict(class_names='corrclip_cityscapes', backbone=dict(pretrained='metaclip_fullcc'))
test_dataloader = dict(dataset=dict(pipeline=_base_.pipelines['448']))
