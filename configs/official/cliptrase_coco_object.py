_base_ = ['../cliptrase_coco_object.py', '../_base_/cliptrase_released.py']

protocol = 'official'
model = dict(class_names='cliptrase_coco_object', background=True, **_base_.released.model)
test_dataloader = dict(dataset=dict(pipeline=_base_.released.void_scored_336))
test_evaluator = dict(type='SmoothedMetric')
