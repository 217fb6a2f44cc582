_base_ = '../resclip_voc20.py'

protocol = 'official'
model = dict(window=None, rcs=(2.0, 0.6), sfr=(2.1, 0.6), temp_thd=0.1)
