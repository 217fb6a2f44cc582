_base_ = '../sfp_pc60.py'

protocol = 'official'
model = dict(prob_thd=0.15)
