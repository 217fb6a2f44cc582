_base_ = '../sclip_voc21.py'

protocol = 'official'
model = dict(logit_scale=65, area_thd=0.1)
