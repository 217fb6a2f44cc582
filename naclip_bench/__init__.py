"""naclip_bench: training-free open-vocabulary semantic segmentation, measured under one protocol."""

__version__ = '0.1.0'
