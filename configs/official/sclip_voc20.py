_base_ = '../sclip_voc20.py'

protocol = 'official'
