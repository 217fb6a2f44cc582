_base_ = ['../maskclip_ade20k.py', '../_base_/maskclip_released.py']

protocol = 'official'
model = dict(class_names='maskclip_ade20k', **_base_.released.model)
test_dataloader = dict(dataset=dict(pipeline=_base_.released.pipeline_512))
