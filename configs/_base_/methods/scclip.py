"""SC-CLIP (arXiv 2411.15869)."""

model = dict(type='SCCLIP', backbone=dict(arch='ViT-B-16-quickgelu', pretrained='openai'))
