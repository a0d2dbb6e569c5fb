"""A tiny sentence-transformers model whose similarities a test can tell beforehand."""

from __future__ import annotations

from pathlib import Path

WORDS = [
    "how",
    "do",
    "i",
    "reset",
    "my",
    "password",
    "it",
    "please",
    "tell",
    "me",
    "what",
    "is",
    "the",
]
WORDS += ["capital", "of", "france"]
SAME = {"gallia": "france", "kindly": "please"}  # words that the model takes for others
MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LONGEST = 16  # tokens that the model reads


def write_embedding_model(folder: Path) -> Path:
    """Write a BERT of two layers whose token vectors are averaged; return its folder.

    Its layers pass on what the embeddings say, so a text is as its words are, in any order.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    vocabulary = {w: i for i, w in enumerate([*MARKS, *WORDS, *SAME, *"重置我的密码ab"])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **dict(zip(names, MARKS, strict=True))
    ).save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    bert = BertModel(BertConfig(vocab_size=len(vocabulary), intermediate_size=32, **shape))
    with torch.no_grad():
        bert.embeddings.position_embeddings.weight.zero_()
        bert.embeddings.token_type_embeddings.weight.zero_()
        words = bert.embeddings.word_embeddings.weight
        for word, other in SAME.items():
            words[vocabulary[word]] = words[vocabulary[other]]
        for layer in bert.encoder.layer:
            layer.attention.output.dense.weight.zero_()
            layer.output.dense.weight.zero_()
    bert.save_pretrained(folder)
    layers = [Transformer(str(folder), max_seq_length=LONGEST), Pooling(64, "mean"), Normalize()]
    SentenceTransformer(modules=layers, device="cpu").save(str(folder / "model"))
    return folder / "model"
