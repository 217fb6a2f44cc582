_base_ = '../cass_coco_stuff.py'

protocol = 'official'
model = dict(global_share=0.2, word_share=0.02, word_distance=0.02)
