_base_ = '../cass_cityscapes.py'

protocol = 'official'
model = dict(picture='window', stretch=False, global_share=0.1, word_share=0.03, word_distance=0.14)
