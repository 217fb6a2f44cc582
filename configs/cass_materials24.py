_base_ = ['./_base_/methods/cass.py', './_base_/datasets/materials24.py']

# As many heads as the tiny CLIP, and NACLIP's Gaussian for 8 x 8 patches.
model = dict(_base_.vocabulary, sigma=3.0, helper=dict(arch='vit_wee_patch16_reg1_gap_256', pretrained='sbb_in1k'))
