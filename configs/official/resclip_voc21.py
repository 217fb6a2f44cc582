_base_ = '../resclip_voc21.py'

protocol = 'official'
model = dict(window=None, rcs=(2.0, 0.3), sfr=(2.2, 0.7), temp_thd=0.5)
