_base_ = '../scclip_voc20.py'

protocol = 'official'
