"""GCLIP (CVPR 2025)."""

model = dict(type='GCLIP', backbone=dict(arch='ViT-B-16-quickgelu', pretrained='openai'))
