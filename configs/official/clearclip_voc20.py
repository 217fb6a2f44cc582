_base_ = '../clearclip_voc20.py'

protocol = 'official'
model = dict(class_names='clearclip_voc20', logit_scale=50, window=448, stride=224)
test_dataloader = dict(dataset=dict(pipeline=_base_.pipelines['448']))
