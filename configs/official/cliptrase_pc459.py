_base_ = ['../cliptrase_pc459.py', '../_base_/cliptrase_released.py']

protocol = 'official'
model = dict(**_base_.released.model)
test_dataloader = dict(dataset=dict(pipeline=_base_.released.void_ignored_336))
test_evaluator = dict(type='SmoothedMetric')
