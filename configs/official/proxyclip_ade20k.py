_base_ = '../proxyclip_ade20k.py'

protocol = 'official'
model = dict(window=336)
test_dataloader = dict(dataset=dict(pipeline=_base_.pipelines['448']))
