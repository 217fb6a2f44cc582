_base_ = '../scclip_cityscapes.py'

protocol = 'official'
