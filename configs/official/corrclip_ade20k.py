_base_ = '../corrclip_ade20k.py'

protocol = 'official'
model = dict(window=336, class_names='corrclip_ade20k', backbone=dict(pretrained='metaclip_fullcc'))
test_dataloader = dict(dataset=dict(pipeline=_base_.pipelines['448']))
