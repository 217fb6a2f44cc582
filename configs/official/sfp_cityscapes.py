_base_ = '../sfp_cityscapes.py'

protocol = 'official'
model = dict(class_names='corrclip_cityscapes')
