"""CLIP Surgery (arXiv 2304.05653)."""

model = dict(type='CLIPSurgery', backbone=dict(arch='ViT-B-16-quickgelu', pretrained='openai'))
