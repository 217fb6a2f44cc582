_base_ = '../resclip_cityscapes.py'

protocol = 'official'
model = dict(rcs=(2.0, 0.2), sfr=(2.1, 0.6), temp_thd=0.1)
