_base_ = '../clearclip_voc21.py'

protocol = 'official'
model = dict(class_names='clearclip_voc21', prob_thd=0.5, logit_scale=50, window=448, stride=224)
test_dataloader = dict(dataset=dict(pipeline=_base_.pipelines['448']))
