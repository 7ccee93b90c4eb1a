"""Models of discovery with random weights, as large as wanted, saved as a user has them.

SAM, Grounding DINO and ViT cost 2.1, 0.19 and 0.04 GFLOP an image or phrase; SAM ViT-H at 1024 px,
DINO Swin-T at 800 px and ViT-B at 224 px cost 5961, 499 and 35 (all by ``FlopCounterMode``).
"""

from __future__ import annotations

import torch
import transformers as t
from torch import nn

WORDS = ("a", "the", "of", "cat", "dog", "fence", "field", "tree", "path", "grass", ".")


def save_models(folder, width):
    """git, dino, sam, vit (folders) and lama.pt; ``width`` multiplies their hidden sizes."""
    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    tokenizer = t.BertTokenizer(vocab={w: i for i, w in enumerate(words)}, model_max_length=64)
    _git(folder / "git", width, tokenizer)
    _dino(folder / "dino", width, tokenizer)
    _sam(folder / "sam", width)
    _vit(folder / "vit", width)
    torch.jit.script(Lama(8 * width).eval()).save(str(folder / "lama.pt"))


def save_full_size(folder):
    """The same files in the sizes of the paper's: GIT-large, DINO Swin-T, SAM ViT-H, ViT-L/32.

    Of LaMa there is a stand-in only; six gigabytes.
    """
    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    tokenizer = t.BertTokenizer(vocab={w: i for i, w in enumerate(words)}, model_max_length=256)
    large = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
             "num_attention_heads": 16, "image_size": 224}  # fmt: skip
    git = t.GitConfig(
        bos_token_id=2, eos_token_id=3, pad_token_id=0, vision_config=large | {"patch_size": 14}
    )
    _save(folder / "git", t.GitForCausalLM(git), t.GitProcessor(t.CLIPImageProcessor(), tokenizer))
    # Swin-T by default; with two queries instead of 900 a phrase has two boxes, whatever their
    # scores. All decoding is about 3 % of the arithmetic.
    dino = t.GroundingDinoForObjectDetection(t.GroundingDinoConfig(num_queries=2))
    processor = t.GroundingDinoProcessor(t.GroundingDinoImageProcessor(), tokenizer)
    _save(folder / "dino", dino, processor)
    huge = t.SamVisionConfig(
        hidden_size=1280, num_hidden_layers=32, num_attention_heads=16, mlp_dim=5120,
        global_attn_indexes=[7, 15, 23, 31],
    )  # fmt: skip
    sam = t.SamModel(t.SamConfig(vision_config=huge))
    _save(folder / "sam", sam, t.SamProcessor(t.SamImageProcessor()))
    vit = t.ViTForImageClassification(t.ViTConfig(**large, patch_size=32, num_labels=2))
    _save(folder / "vit", vit, t.ViTImageProcessor())
    torch.jit.script(Lama(64).eval()).save(str(folder / "lama.pt"))


def _save(folder, model, processor):
    with torch.no_grad():
        for parameter in model.parameters():  # answers that differ by more than rounding
            if parameter.ndim > 1:
                parameter.normal_(0, 1.5 * parameter[0].numel() ** -0.5)
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)


def _git(folder, width, tokenizer):
    hidden = 32 * width
    config = t.GitConfig(
        vocab_size=len(tokenizer), hidden_size=hidden, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=2 * hidden, bos_token_id=2, eos_token_id=3, pad_token_id=0,
        vision_config={"hidden_size": hidden, "intermediate_size": 2 * hidden, "patch_size": 16,
                       "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 96},
    )  # fmt: skip
    images = t.CLIPImageProcessor(size={"shortest_edge": 96}, crop_size={"height": 96, "width": 96})
    _save(folder, t.GitForCausalLM(config), t.GitProcessor(images, tokenizer))


def _dino(folder, width, tokenizer):
    hidden = 32 * width
    config = t.GroundingDinoConfig(
        backbone_config=t.SwinConfig(
            image_size=224, embed_dim=hidden // 2, depths=[1, 1, 2, 1], num_heads=[1, 1, 1, 1],
            window_size=7, out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=t.BertConfig(
            vocab_size=len(tokenizer), hidden_size=hidden, num_hidden_layers=2,
            num_attention_heads=2, intermediate_size=2 * hidden,
        ),
        d_model=hidden, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=2 * hidden,
        decoder_ffn_dim=2 * hidden, encoder_attention_heads=2, decoder_attention_heads=2,
        num_queries=2, max_text_len=64, encoder_n_points=2, decoder_n_points=2,
    )  # fmt: skip
    images = t.GroundingDinoImageProcessor(size={"shortest_edge": 224, "longest_edge": 384})
    model = t.GroundingDinoForObjectDetection(config)
    _save(folder, model, t.GroundingDinoProcessor(images, tokenizer))


def _sam(folder, width):
    hidden, side = 64 * width, 256
    config = t.SamConfig(
        vision_config=t.SamVisionConfig(
            hidden_size=hidden, output_channels=hidden, num_hidden_layers=12, num_attention_heads=4,
            image_size=side, patch_size=8, window_size=8, global_attn_indexes=[5, 11],
            mlp_dim=4 * hidden, num_pos_feats=hidden // 2,
        ),
        prompt_encoder_config=t.SamPromptEncoderConfig(
            hidden_size=hidden, image_size=side, patch_size=8, mask_input_channels=4
        ),
        mask_decoder_config=t.SamMaskDecoderConfig(
            hidden_size=hidden, mlp_dim=2 * hidden, num_hidden_layers=2, num_attention_heads=2,
            iou_head_hidden_dim=hidden,
        ),
    )  # fmt: skip
    images = t.SamImageProcessor(
        size={"longest_edge": side}, pad_size={"height": side, "width": side},
        mask_size={"longest_edge": 128}, mask_pad_size={"height": 128, "width": 128},
    )  # fmt: skip
    _save(folder, t.SamModel(config), t.SamProcessor(images))


def _vit(folder, width):
    hidden = 32 * width
    config = t.ViTConfig(
        hidden_size=hidden, num_hidden_layers=4, num_attention_heads=2, num_labels=2,
        intermediate_size=2 * hidden, image_size=224, patch_size=16,
    )  # fmt: skip
    images = t.ViTImageProcessor(size={"height": 224, "width": 224})
    _save(folder, t.ViTForImageClassification(config), images)


class Lama(nn.Module):
    """A few convolutions by the convention of ``big-lama.pt``."""

    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(4, channels, 7, 4, 3), nn.ReLU(), nn.Conv2d(channels, channels, 3, 1, 1),
            nn.ReLU(), nn.Conv2d(channels, channels, 3, 1, 1), nn.ReLU(),
            nn.Conv2d(channels, 3, 3, 1, 1), nn.Upsample(scale_factor=4.0), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, image, mask):
        return self.layers(torch.cat([image * (1 - mask), mask], 1))
