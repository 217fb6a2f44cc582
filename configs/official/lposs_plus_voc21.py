_base_ = '../lposs_plus_voc21.py'

protocol = 'official'
model = dict(class_names='lposs_voc21', prob_thd=0.0, backbone=dict(arch='ViT-B-16', pretrained='laion2b_s34b_b88k'))
test_dataloader = dict(dataset=dict(pipeline=_base_.pipelines['448']))
