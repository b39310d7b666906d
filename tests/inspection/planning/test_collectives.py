"""Collectives of a program, on one written by hand in the ways that XLA prints it."""

import pytest

from fcnjax.inspection.planning.collectives import Collective, collectives

PROGRAM = """\
HloModule jit_train_step, is_scheduled=true

%all-reduce-scatter.1 (p: f32[8,128]) -> f32[2,128] {
  %p = f32[8,128]{1,0} parameter(0)
  %all-reduce.9 = f32[8,128]{1,0} all-reduce(%p), replica_groups=[2,4]<=[8], to_apply=%add
  ROOT %slice = f32[2,128]{1,0} dynamic-slice(%all-reduce.9, %i, %zero)
}

%async_computation (p.1: f32[16]) -> f32[4] {
  %p.1 = f32[16]{0} parameter(0)
  ROOT %reduce-scatter.1 = f32[4]{0} reduce-scatter(%p.1), replica_groups={{0,1,2,3},{4,5,6,7}}, \
dimensions={0}, to_apply=%add
}

ENTRY %main (x: bf16[2,8]) -> f32[64] {
  %x = bf16[2,8]{1,0:T(8,128)(2,1)} parameter(0)
  %all-reduce.1 = (f32[64]{0:T(128)S(1)}, /*index=1*/f32[]{:T(128)}) all-reduce(%a, %b), \
channel_id=2, replica_groups=mesh['axis_0'=4,'axis_1'=2] {'axis_0'}, to_apply=%add, \
metadata={op_name="jit(train_step)/all-gather(x)"}
  %all-reduce.2 = f32[10]{0} all-reduce(%c), replica_groups={}, to_apply=%add
  %all-gather-start.1 = (bf16[2,8]{1,0}, bf16[8,8]{1,0}) all-gather-start(%x), \
replica_groups=[2,4]<=[4,2]T(1,0), dimensions={0}
  %all-gather-done.1 = bf16[8,8]{1,0} all-gather-done(%all-gather-start.1)
  %collective-permute-start = (u8[3,5]{1,0}, u8[3,5]{1,0}, u32[], u32[]) \
collective-permute-start(%y), source_target_pairs={{0,1},{1,2}}
  %collective-permute-done = u8[3,5]{1,0} collective-permute-done(%collective-permute-start)
  %all-to-all.1 = (s32[6]{0}, s32[6]{0}) all-to-all(%d, %e), replica_groups={{0,1},{2,3}}
  ROOT %sum = f32[64]{0} add(%f, %g)
}
"""


def test_every_notation_is_parsed_once():
    assert list(collectives(PROGRAM, 8)) == [
        Collective("reduce-scatter", 8 * 128 * 4, 4),
        Collective("reduce-scatter", 16 * 4, 4),
        Collective("all-reduce", 64 * 4 + 4, 4),
        Collective("all-reduce", 40, 8),
        Collective("all-gather", 8 * 8 * 2, 4),
        Collective("collective-permute", 15, 8),
        Collective("all-to-all", 48, 2),
    ]


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("all-reduce", 2 * 300.0),
        ("all-gather", 300.0),
        ("reduce-scatter", 300.0),
        ("all-to-all", 300.0),
        ("collective-permute", 400.0),
    ],
)
def test_bytes_sent_in_rings_of_four(kind, sent):
    assert Collective(kind, 400, 4).sent == sent
    assert Collective("all-reduce", 400, 1).sent == 0
