_base_ = '../scclip_pc59.py'

protocol = 'official'
