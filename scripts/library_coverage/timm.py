"""The two smallest architectures of each of timm's families."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import timm

from library_coverage.candidate import Candidate, images, takes

# Building all models to find the smallest takes half an hour, even without values. Of each family
# the smallest stands in the first half, the next one in the second; those of 90 million parameters
# or more are left out.
_SMALLEST = """
    halonet_h1 test_byobnet cait_xxs24_224 coat_tiny convit_tiny convmixer_768_32
    test_convnext cpubone_nano crossvit_tiny_240 csatv2 cs3darknet_focus_s cspnext_tiny
    davit_tiny deit_tiny_patch16_224 densenet121 dla46x_c dpn48b edgenext_xx_small
    efficientformer_l1 efficientformerv2_s0 test_efficientnet efficientvim_m1 efficientvit_b0
    efficientvit_m0 vit_tiny_patch16_dinov3_qkvb fasternet_t0 fastvit_t8 focalnet_tiny_srf
    gcvit_xxtiny ghostnet_050 hardcorenas_b hgnetv2_b0 hiera_tiny_224 sam2_hiera_tiny
    hrnet_w18_small iformer_t inception_next_atto inception_resnet_v2 inception_v3
    inception_v4 lcnetv2_small levit_128s lowformer_b0 test_mambaout test_coatnet
    poolformerv2_s12 gmlp_ti16_224 mobilenetv3_small_050 mobilevit_xxs mvitv2_tiny nest_tiny
    nextvit_small test_nfnet pit_ti_224 pvt_v2_b0 rdnet_tiny regnetx_002 repghostnet_050
    repvit_m0_9 res2net50_26w_4s resnest14d resnet10t resnetv2_18 rexnet_100 selecsls42
    legacy_seresnet18 sequencer2d_s shvit_s1 skresnet18 starnet_s050 swiftformer_xs
    swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 swinv2_cr_tiny_224 tiny_vit_5m_224
    tnt_s_patch16_224 tresnet_m twins_svt_small vgg11_bn visformer_tiny test_vit
    vit_tiny_r_s16_p8_224 test_vit_relpos vitamin_small_224 volo_d1_224 ese_vovnet19b_slim_dw
    xception41 xcit_nano_12_p16_224

    beit_base_patch16_224 eca_botnext26ts_256 mobileone_s1 cait_xxs24_384 coat_lite_tiny
    convit_small convmixer_1024_20_ks9_p14 test_convnext3 cpubone_t0 crossvit_9_240 csatv2_21m
    cs3darknet_s cspnext_s deit_tiny_distilled_patch16_224 densenetblur121d dla46_c dpn68
    edgenext_x_small efficientformerv2_s1 test_efficientnet_gn efficientvim_m1_dist
    efficientvit_b1 efficientvit_m1 eva02_tiny_patch14_224 fasternet_t1 fastvit_t12
    focalnet_tiny_lrf gcvit_xtiny ghostnetv3_050 hardcorenas_a hgnetv2_b1 hrnet_w18_small_v2
    iformer_s inception_next_tiny lcnetv2_base levit_conv_128s lowformer_b1 mambaout_femto
    test_maxvit poolformer_s12 gmixer_12_224 lcnet_035 mobilenetv5_base mobilevitv2_050
    naflexvit_base_patch16_parfac_gap nasnetalarge nest_tiny_jx nf_regnet_b0
    pit_ti_distilled_224 pnasnet5large pvt_v2_b1 qwen3_vit_88m regnety_002 repghostnet_058
    resnest26d resnet18 resnetv2_18d rexnetr_200 selecsls60 legacy_seresnext26_32x4d
    skresnet34 starnet_s1 swiftformer_s tiny_vit_11m_224 twins_pcpvt_small vgg11
    visformer_small vit_tiny_patch16_224 flexivit_small vit_small_resnet26d_224
    vit_relpos_small_patch16_224 samvit_base_patch16_224 ese_vovnet19b_slim xception71
    xcit_tiny_12_p8_224
"""
_SIDES = (64, 96, 128, 192)
"""Tried from the first on; then the published one."""


class Timm:
    """One or two of each module of ``timm.models``."""

    def names(self) -> Sequence[str]:
        known = frozenset(timm.list_models())
        return [name for name in _SMALLEST.split() if name in known]

    def candidate(self, name: str) -> Candidate:
        config = timm.get_pretrained_cfg(name)
        channels, published = config.input_size[0], max(config.input_size[1:])
        make = partial(_make, name)
        sides = [side for side in _SIDES if side < published]
        for side in (*sides, published):
            sized: dict[str, Any] = {"img_size": side}
            # Without values, a model of one size may take another and only then fail.
            for arguments in [sized] if config.fixed_input_size else [{}, sized]:
                own = partial(make, **arguments)
                if takes(own, images(side, channels)):
                    larger = images(side + 32 if side < 128 else 2 * side, channels)
                    return Candidate(
                        own,
                        images(side, channels),
                        larger,
                        (make, images(published, channels, samples=1)),
                    )
        return Candidate(make, images(published, channels))


def _make(name: str, **arguments: Any) -> Any:
    return timm.create_model(name, pretrained=False, **arguments)
