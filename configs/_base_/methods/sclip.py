"""SCLIP (ECCV 2024)."""

model = dict(type='SCLIP', backbone=dict(arch='ViT-B-16-quickgelu', pretrained='openai'))
