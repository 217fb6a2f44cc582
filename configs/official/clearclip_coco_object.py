_base_ = '../clearclip_coco_object.py'

protocol = 'official'
model = dict(class_names='clearclip_coco_object', prob_thd=0.4, logit_scale=50, window=448, stride=224)
test_dataloader = dict(dataset=dict(pipeline=_base_.pipelines['448']))
