_base_ = '../clearclip_coco_stuff.py'

protocol = 'official'
model = dict(logit_scale=50, window=448, stride=224)
test_dataloader = dict(dataset=dict(pipeline=_base_.pipelines['448']))
