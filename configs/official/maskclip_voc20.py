_base_ = ['../maskclip_voc20.py', '../_base_/maskclip_released.py']

protocol = 'official'
model = dict(class_names='maskclip_voc20', **_base_.released.model)
test_dataloader = dict(dataset=dict(pipeline=_base_.released.pipeline_512))
