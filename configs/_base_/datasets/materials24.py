"""Materials without background, 24 classes, 200 images drawn by code; a stand-in for checking and learning."""

_base_ = './materials25.py'

dataset = 'materials24'
vocabulary = dict(class_names='materials24', prob_thd=0.0)

test_dataloader = dict(dataset=dict(type='Materials24Dataset'))
