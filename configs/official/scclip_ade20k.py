_base_ = '../scclip_ade20k.py'

protocol = 'official'
