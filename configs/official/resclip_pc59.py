_base_ = '../resclip_pc59.py'

protocol = 'official'
model = dict(rcs=(2.0, 0.4), sfr=(1.8, 0.7), temp_thd=0.25)
