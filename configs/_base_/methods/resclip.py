"""ResCLIP (CVPR 2025)."""

model = dict(type='ResCLIP', backbone=dict(arch='ViT-B-16-quickgelu', pretrained='openai'))
