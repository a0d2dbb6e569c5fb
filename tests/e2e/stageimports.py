"""What the stages of training import, imported: the fork server of warmstart.py starts with it."""

import pandas  # noqa: F401
import pyarrow.parquet  # noqa: F401
import safetensors.torch  # noqa: F401

from sftflow.modelimports import import_models

import_models()

import peft  # noqa: E402, F401
from transformers import AutoTokenizer, Qwen2ForCausalLM  # noqa: E402, F401
from trl import SFTTrainer  # noqa: E402, F401
