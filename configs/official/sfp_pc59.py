_base_ = '../sfp_pc59.py'

protocol = 'official'
