_base_ = '../sclip_pc59.py'

protocol = 'official'
