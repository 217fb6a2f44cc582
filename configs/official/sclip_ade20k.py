_base_ = '../sclip_ade20k.py'

protocol = 'official'
