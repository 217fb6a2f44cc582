_base_ = '../proxyclip_cityscapes.py'

protocol = 'official'
test_dataloader = dict(dataset=dict(pipeline=_base_.pipelines['448']))
