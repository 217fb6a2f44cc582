_base_ = '../cass_pc59.py'

protocol = 'official'
model = dict(global_share=0.25, word_share=0.04, word_distance=0.09)
