_base_ = '../sfp_voc21.py'

protocol = 'official'
model = dict(class_names='sfp_voc21', logit_scale=50, prob_thd=0.15, area_thd=0.1)
