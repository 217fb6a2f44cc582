_base_ = '../sfp_ade20k.py'

protocol = 'official'
test_dataloader = dict(dataset=dict(pipeline=_base_.pipelines['384']))
