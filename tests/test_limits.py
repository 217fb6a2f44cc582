"""The least that stages take, and the rates beside which they are seen."""

import cv2
import numpy as np
import pytest
import torch
from golden import TINY

from naclip_bench.methods.naclip import NACLIP
from naclip_bench.speed.limits import Work, decode_seconds, memory_rate, work_of


def test_work_is_counted_a_pixel_and_a_word():
    backbone = dict(arch=TINY, pretrained=None)
    plain = work_of(NACLIP(class_names='voc20', backbone=backbone), (10, 20), 5, 6)
    assert plain.flops == {'trunk': 5, 'method': 6}
    queries = len(NACLIP(class_names='voc20', backbone=backbone).vocabulary.queries)
    assert plain.moved == {'stitch+decide': 200 * (8 * queries + 1), 'metric': 400}
    refined = work_of(NACLIP(class_names='voc20', backbone=backbone, refine=dict(iterations=3)), (10, 20), 5, 6)
    assert refined.moved['refine'] == 3 * 200 * 4 * (2 * queries + 16)


def test_least_seconds_are_work_over_rate():
    work = Work({'trunk': 100, 'method': 50}, {'refine': 30})
    assert work.least_seconds(matrix_rate=50, memory_rate=10) == {'trunk': 2, 'method': 1, 'refine': 3}


def test_rates_are_measured(tmp_path):
    path = tmp_path / 'image.jpg'
    cv2.imwrite(str(path), np.zeros((30, 40, 3), np.uint8))
    assert decode_seconds([str(path)]) > 0
    assert decode_seconds([str(tmp_path / 'drawn')]) == 0
    assert memory_rate(torch.device('cpu')) == pytest.approx(5e10, rel=10)
