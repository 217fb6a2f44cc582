_base_ = '../scclip_voc21.py'

protocol = 'official'
model = dict(logit_scale=50, prob_thd=0.15, area_thd=0.1)
