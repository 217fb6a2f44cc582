_base_ = '../sclip_pc60.py'

protocol = 'official'
model = dict(logit_scale=50)
