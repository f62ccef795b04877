"""Model files in and out: Hugging Face, OpenAI's TensorFlow bundle, GGUF and our own folder."""
