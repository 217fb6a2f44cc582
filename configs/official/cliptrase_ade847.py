_base_ = ['../cliptrase_ade847.py', '../_base_/cliptrase_released.py']

protocol = 'official'
model = dict(class_names='cliptrase_ade847', **_base_.released.model)
test_dataloader = dict(dataset=dict(pipeline=_base_.released.void_ignored_336))
test_evaluator = dict(type='SmoothedMetric')
