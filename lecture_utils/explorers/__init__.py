"""Figures with sliders and menus, alive in a kernel and in a page without one."""

from lecture_utils.explorers.anchors import AnchorPad
from lecture_utils.explorers.attention import AttentionPad
from lecture_utils.explorers.boxes import BoxPad
from lecture_utils.explorers.convolutions import ConvolutionPad
from lecture_utils.explorers.deltas import DeltaPad
from lecture_utils.explorers.explorer import Explorer
from lecture_utils.explorers.overlay import Kind, Mark, Overlay, OverlayExplorer
from lecture_utils.explorers.values import Menu, Slider
