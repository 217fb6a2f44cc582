"""GEM (CVPR 2024)."""

model = dict(type='GEM', backbone=dict(arch='ViT-B-16-quickgelu', pretrained='openai'))
