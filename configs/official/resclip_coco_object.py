_base_ = '../resclip_coco_object.py'

protocol = 'official'
model = dict(rcs=(2.0, 0.4), sfr=(1.8, 0.7), temp_thd=0.11)
