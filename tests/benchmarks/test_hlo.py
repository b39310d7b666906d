"""benchmarks/hlo.py on a hand-written program in the format that XLA prints."""

import pytest
from hlo import kernels

PROGRAM = """\
HloModule jit_step, is_scheduled=true

%fused_add (a: f32[64]) -> f32[64] {
  %a = f32[64]{0} parameter(0)
  ROOT %b = f32[64]{0} add(%a, %a)
}

ENTRY %main (x: bf16[2,8,8,16], w: bf16[32,3,3,16], b: f32[64]) -> f32[64] {
  %x = bf16[2,8,8,16]{3,2,1,0} parameter(0), sharding={replicated}
  %w = bf16[32,3,3,16]{3,2,1,0} parameter(1)
  %b = f32[64]{0} parameter(2)
  %conv.1 = (bf16[2,8,8,32]{3,2,1,0}, u8[4096]{0}) custom-call(%x, %w), \
window={size=3x3 pad=1_1x1_1}, custom_call_target="__cudnn$convForward", \
metadata={op_name="jit(step)/conv"}
  %out.1 = bf16[2,8,8,32]{3,2,1,0} get-tuple-element(%conv.1), index=0
  %conv.2 = (bf16[32,3,3,16]{3,2,1,0}, u8[0]{0}) custom-call(%x, %out.1), \
window={size=3x3}, custom_call_target="__cudnn$convBackwardFilter"
  %conv.3 = (bf16[2,8,8,16]{3,2,1,0}, u8[0]{0}) custom-call(%out.1, %w), \
window={size=3x3}, custom_call_target="__cudnn$convBackwardInput"
  %part = f32[8]{0} fusion(%b), kind=kLoop, calls=%wrapped_slice_computation
  ROOT %loop = f32[64]{0} fusion(%b), kind=kLoop, calls=%fused_add, \
metadata={op_name="jit(step)/add"}
}
"""


def test_kernels_bytes_and_operations_by_hand():
    found = kernels(PROGRAM)
    assert [kernel.kind for kernel in found] == [
        "custom-call __cudnn$convForward",
        "custom-call __cudnn$convBackwardFilter",
        "custom-call __cudnn$convBackwardInput",
        "fusion kLoop",
        "fusion kLoop",
    ]
    image, weights, out = 2 * 8 * 8 * 16, 32 * 3 * 3 * 16, 2 * 8 * 8 * 32
    assert [kernel.bytes_moved for kernel in found[:3]] == [2 * (image + weights + out)] * 3
    # A slice reads as much as it writes, and the sum reads a whole array.
    assert [kernel.bytes_moved for kernel in found[3:]] == [2 * 4 * 8, 2 * 4 * 64]
    products = 2 * 8 * 8 * 32 * 9 * 16
    assert [kernel.operations for kernel in found] == [2 * products] * 3 + [0, 0]
    assert [kernel.name for kernel in found] == ["jit(step)/conv", "", "", "", "jit(step)/add"]


def test_kernel_time_is_the_larger_of_compute_and_memory():
    *_, last = found = kernels(PROGRAM)
    assert last.seconds(1e12, 512) == 1
    assert found[0].seconds(found[0].operations / 3, 1e18) == pytest.approx(3)
