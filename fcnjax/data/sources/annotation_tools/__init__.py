"""Exports of annotation tools: COCO, CVAT, LabelMe, Label Studio and VIA."""
