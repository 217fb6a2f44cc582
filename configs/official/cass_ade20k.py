_base_ = '../cass_ade20k.py'

protocol = 'official'
model = dict(global_share=0.3, word_share=0.05, word_distance=0.06)
