"""CLIP itself (ICML 2021)."""

model = dict(type='PlainCLIP', backbone=dict(arch='ViT-B-16-quickgelu', pretrained='openai'))
