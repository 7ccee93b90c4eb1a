"""Real model classes of transformers with random weights, a few thousand each, saved to a folder
as a user's checkpoint would lie there: configuration, weights, tokenizer, image processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

SENTENCES = (
    "a the bird boat lake sea on in near with of and red blue two tree sky sand man dog what does "
    "image describe detail shown this one sentence name objects place user assistant system"
)


def tokenizer(specials: list[str], **roles: Any) -> PreTrainedTokenizerFast:
    """Bytes and a few whole words, after the special tokens."""
    vocabulary = [*specials, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    backend = Tokenizer(models.BPE({t: i for i, t in enumerate(vocabulary)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend, **roles)


def _bert_tokenizer() -> Any:
    from transformers import BertTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *SENTENCES.split()]
    return BertTokenizer(vocab={word: i for i, word in enumerate(words)})


def _spread(model: Any, scale: float = 0.3) -> Any:
    """Weights large enough that the logits differ by more than rounding."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, scale, generator=generator)
    return model.eval()


def git(folder: Path) -> Path:
    from transformers import CLIPImageProcessor, GitConfig, GitForCausalLM, GitProcessor

    words = _bert_tokenizer()
    config = GitConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=48, bos_token_id=2, eos_token_id=3, pad_token_id=0,
        vision_config={"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
                       "num_attention_heads": 4, "image_size": 32, "patch_size": 16},
    )  # fmt: skip
    _spread(GitForCausalLM(config), 0.6).save_pretrained(folder)
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    GitProcessor(images, words).save_pretrained(folder)
    return folder


def blip(folder: Path) -> Path:
    from transformers import (
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessor,
        BlipProcessor,
    )

    words = _bert_tokenizer()
    config = BlipConfig(
        text_config={"vocab_size": len(words), "hidden_size": 32, "encoder_hidden_size": 32,
                     "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
                     "bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0},
        vision_config={"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
                       "num_attention_heads": 4, "image_size": 32, "patch_size": 16},
    )  # fmt: skip
    _spread(BlipForConditionalGeneration(config)).save_pretrained(folder)
    images = BlipImageProcessor(size={"height": 32, "width": 32})
    BlipProcessor(images, words).save_pretrained(folder)
    return folder


def blip2(folder: Path) -> Path:
    from transformers import (
        Blip2Config,
        Blip2ForConditionalGeneration,
        Blip2Processor,
        BlipImageProcessor,
        OPTConfig,
    )

    words = tokenizer(
        ["<s>", "<pad>", "</s>", "<image>"], bos_token="<s>", pad_token="<pad>",
        eos_token="</s>", additional_special_tokens=["<image>"],
    )  # fmt: skip
    config = Blip2Config(
        vision_config={"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
                       "num_attention_heads": 4, "image_size": 32, "patch_size": 16},
        qformer_config={"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
                        "num_attention_heads": 4, "encoder_hidden_size": 32,
                        "vocab_size": len(words)},
        text_config=OPTConfig(
            vocab_size=len(words), hidden_size=32, ffn_dim=48, num_hidden_layers=2,
            num_attention_heads=4, word_embed_proj_dim=32, max_position_embeddings=128,
            bos_token_id=0, pad_token_id=1, eos_token_id=2,
        ).to_dict(),
        num_query_tokens=4, image_token_index=3,
    )  # fmt: skip
    _spread(Blip2ForConditionalGeneration(config)).save_pretrained(folder)
    images = BlipImageProcessor(size={"height": 32, "width": 32})
    Blip2Processor(images, words, num_query_tokens=4).save_pretrained(folder)
    return folder


def florence2(folder: Path) -> Path:
    from transformers import (
        BartConfig,
        BartTokenizer,
        CLIPImageProcessor,
        Florence2Config,
        Florence2ForConditionalGeneration,
        Florence2Processor,
    )

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "<image>"]
    words = BartTokenizer(
        vocab={token: i for i, token in enumerate([*specials, *alphabet])}, merges=[],
        extra_special_tokens={"image_token": "<image>"},
    )  # fmt: skip
    config = Florence2Config(
        text_config=BartConfig(
            vocab_size=len(words), d_model=32, encoder_layers=1, decoder_layers=2,
            encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48,
            decoder_ffn_dim=48, max_position_embeddings=256, bos_token_id=0, pad_token_id=1,
            eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=None,
        ).to_dict(),
        vision_config={"embed_dim": [8, 8, 16, 16], "depths": [1, 1, 1, 1],
                       "num_heads": [2, 2, 2, 2], "num_groups": [2, 2, 2, 2], "window_size": 2,
                       "projection_dim": 32},
        image_token_id=5,
    )  # fmt: skip
    _spread(Florence2ForConditionalGeneration(config)).save_pretrained(folder)
    images = CLIPImageProcessor(
        size={"height": 64, "width": 64}, crop_size={"height": 64, "width": 64},
        do_center_crop=False,
    )  # fmt: skip
    images.image_seq_length = 5
    Florence2Processor(images, words).save_pretrained(folder)
    return folder


CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['content'] is string %}"
    "{{ m['content'] }}{% else %}{% for c in m['content'] %}{% if c['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
    "{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% endif %}"
)


def qwen_vl(folder: Path) -> Path:
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2Tokenizer,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>",
                "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]  # fmt: skip
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = Qwen2Tokenizer(
        vocab={token: i for i, token in enumerate([*specials, *alphabet])}, merges=[],
        eos_token="<|im_end|>", pad_token="<|endoftext|>", unk_token="<|endoftext|>",
        additional_special_tokens=specials,
    )  # fmt: skip
    config = Qwen2_5_VLConfig(
        text_config={"vocab_size": len(words), "hidden_size": 32, "intermediate_size": 48,
                     "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
                     "max_position_embeddings": 512, "bos_token_id": 0, "eos_token_id": 2,
                     "pad_token_id": 0,
                     "rope_parameters": {"rope_type": "default", "rope_theta": 1e4,
                                         "mrope_section": [2, 1, 1]}},
        vision_config={"depth": 1, "hidden_size": 32, "intermediate_size": 48, "num_heads": 4,
                       "patch_size": 8, "spatial_merge_size": 2, "temporal_patch_size": 2,
                       "window_size": 32, "out_hidden_size": 32, "fullatt_block_indexes": [0]},
        vision_start_token_id=3, vision_end_token_id=4, image_token_id=5, video_token_id=6,
    )  # fmt: skip
    _spread(Qwen2_5_VLForConditionalGeneration(config)).save_pretrained(folder)
    patches = {"patch_size": 8, "merge_size": 2, "temporal_patch_size": 2}
    Qwen2_5_VLProcessor(
        Qwen2VLImageProcessor(**patches), words, Qwen2VLVideoProcessor(**patches),
        chat_template=CHAT,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def chat_llama(folder: Path) -> Path:
    from transformers import LlamaConfig, LlamaForCausalLM

    words = tokenizer(
        ["<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"], pad_token="<pad>",
        bos_token="<s>", eos_token="<|im_end|>", additional_special_tokens=["<|im_start|>"],
    )  # fmt: skip
    words.chat_template = CHAT
    config = LlamaConfig(
        vocab_size=len(words) + 3, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=4096,
        bos_token_id=1, eos_token_id=4, pad_token_id=0,
    )  # fmt: skip
    _spread(LlamaForCausalLM(config)).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


WORDS = (
    "a", "an", "the", "photo", "of", "boat", "cat", "dog", "bird", "tree", "lake", "forest",
    "turn", "background", "into", "sea", ".",
)  # fmt: skip


def grounding_dino(folder: Path) -> Path:
    from transformers import (
        BertConfig,
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
        SwinConfig,
    )

    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(WORDS)]
    tokenizer = BertTokenizer(vocab={w: i for i, w in enumerate(words)}, model_max_length=64)
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=96,
            embed_dim=16,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 1, 1],
            window_size=4,
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=BertConfig(
            vocab_size=len(words),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
        ),
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        num_queries=10,
        max_text_len=64,
        encoder_n_points=2,
        decoder_n_points=2,
    )
    GroundingDinoForObjectDetection(config).eval().save_pretrained(folder)
    processor = GroundingDinoImageProcessor(size={"shortest_edge": 96, "longest_edge": 160})
    GroundingDinoProcessor(processor, tokenizer).save_pretrained(folder)
    return folder


def sam(folder: Path) -> Path:
    from transformers import (
        SamConfig,
        SamImageProcessor,
        SamMaskDecoderConfig,
        SamModel,
        SamProcessor,
        SamPromptEncoderConfig,
        SamVisionConfig,
    )

    torch.manual_seed(0)
    config = SamConfig(
        vision_config=SamVisionConfig(
            hidden_size=32,
            output_channels=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=64,
            patch_size=8,
            window_size=4,
            global_attn_indexes=[1],
            mlp_dim=32,
            num_pos_feats=16,
        ),
        prompt_encoder_config=SamPromptEncoderConfig(
            hidden_size=32, image_size=64, patch_size=8, mask_input_channels=4
        ),
        mask_decoder_config=SamMaskDecoderConfig(
            hidden_size=32,
            mlp_dim=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            iou_head_hidden_dim=16,
        ),
    )
    SamModel(config).eval().save_pretrained(folder)
    processor = SamImageProcessor(
        size={"longest_edge": 64},
        pad_size={"height": 64, "width": 64},
        mask_size={"longest_edge": 16},
        mask_pad_size={"height": 16, "width": 16},
    )
    SamProcessor(processor).save_pretrained(folder)
    return folder
