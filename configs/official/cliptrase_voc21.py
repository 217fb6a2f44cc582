_base_ = ['../cliptrase_voc21.py', '../_base_/cliptrase_released.py']

protocol = 'official'
model = dict(class_names='cliptrase_voc21', background=True, **_base_.released.model)
test_dataloader = dict(dataset=dict(pipeline=_base_.released.void_scored_336))
test_evaluator = dict(type='SmoothedMetric')
