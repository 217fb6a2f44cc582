"""SFP (ICCV 2025)."""

model = dict(type='SFP', backbone=dict(arch='ViT-B-16-quickgelu', pretrained='openai'))
