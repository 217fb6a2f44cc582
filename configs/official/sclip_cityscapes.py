_base_ = '../sclip_cityscapes.py'

protocol = 'official'
