_base_ = '../cass_voc21.py'

protocol = 'official'
model = dict(window=None, picture='window', global_share=0.1, word_share=0.03, word_distance=0.1)
