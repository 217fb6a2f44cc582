_base_ = '../cass_voc20.py'

protocol = 'official'
model = dict(stretch=False, global_share=0.4, word_share=0.02, word_distance=0.1)
