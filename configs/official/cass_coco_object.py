_base_ = '../cass_coco_object.py'

protocol = 'official'
model = dict(global_share=0.25, word_share=0.01, word_distance=0.1)
