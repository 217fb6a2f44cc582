_base_ = '../resclip_ade20k.py'

protocol = 'official'
model = dict(rcs=(2.0, 0.3), sfr=(2.1, 0.7), temp_thd=0.25)
