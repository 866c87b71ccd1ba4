"""Readers of data sets that several benchmarks share: Pascal VOC and COCO."""
