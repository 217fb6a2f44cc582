_base_ = '../sclip_coco_object.py'

protocol = 'official'
model = dict(logit_scale=50)
