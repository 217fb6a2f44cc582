_base_ = '../sfp_coco_object.py'

protocol = 'official'
model = dict(logit_scale=55, prob_thd=0.35)
